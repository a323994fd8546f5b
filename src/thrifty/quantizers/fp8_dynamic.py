"""Weights and activations in 8-bit floating point, a scale for each row; activations' are found at every call. Needs a GPU that has it."""

from __future__ import annotations

from typing import Any

from thrifty.config.choices import quantizers
from thrifty.quantizers.torchao_linear import TorchaoLinear, torchao_quantization, why_no_fp8


class Fp8Dynamic(TorchaoLinear):
    """On GPUs of compute capability 8.9 and newer."""

    def unsupported(self, device_type: str) -> str | None:
        """Anything but such a GPU."""
        return why_no_fp8(device_type, "fp8_dynamic")

    def settings(self) -> Any:
        """torchao's configuration."""
        torchao = torchao_quantization()
        return torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow(), set_inductor_config=False)


def build(config: quantizers.Quantizer) -> Fp8Dynamic:
    """The quantizer a configuration names."""
    return Fp8Dynamic(config)
