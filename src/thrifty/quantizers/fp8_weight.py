"""Weights in 8-bit floating point, a scale for each output; activations stay as they are. Needs a GPU that has it."""

from __future__ import annotations

from typing import Any

import torch

from thrifty.config.choices import quantizers
from thrifty.quantizers.torchao_linear import TorchaoLinear, torchao_quantization, why_no_fp8


class Fp8Weight(TorchaoLinear):
    """On GPUs of compute capability 8.9 and newer."""

    def unsupported(self, device_type: str) -> str | None:
        """Anything but such a GPU."""
        return why_no_fp8(device_type, "fp8_weight")

    def settings(self, weight_dtype: torch.dtype) -> Any:
        """torchao's configuration."""
        torchao = torchao_quantization()
        return torchao.Float8WeightOnlyConfig(set_inductor_config=False)


def build(config: quantizers.Quantizer) -> Fp8Weight:
    """The quantizer a configuration names."""
    return Fp8Weight(config)
