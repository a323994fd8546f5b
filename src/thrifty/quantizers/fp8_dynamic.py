"""Weights and activations in 8-bit floating point; the scales of activations are found at every call. Needs a GPU that has it.

A scale for each row where the weights are bfloat16, else one for a whole tensor: products by rows come in bfloat16 alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from thrifty.config.choices import quantizers
from thrifty.quantizers.torchao_linear import TorchaoLinear, torchao_quantization, why_no_fp8

_STEP = 16
"""What both sizes of a weight must be multiples of: the products take no others, and torchao leaves such layers in silence."""


class Fp8Dynamic(TorchaoLinear):
    """On GPUs of compute capability 8.9 and newer."""

    def unsupported(self, device_type: str) -> str | None:
        """Anything but such a GPU."""
        return why_no_fp8(device_type, "fp8_dynamic")

    def unfit(self, layer: nn.Module) -> str | None:
        """Beside convolutions, sizes that the products do not take."""
        if (why := super().unfit(layer)) is not None:
            return why
        assert isinstance(layer, nn.Linear)
        if layer.in_features % _STEP or layer.out_features % _STEP:
            return f"its {layer.in_features} inputs or {layer.out_features} outputs do not divide by {_STEP}"
        return None

    def settings(self, weight_dtype: torch.dtype) -> Any:
        """torchao's configuration."""
        torchao = torchao_quantization()
        granularity = torchao.PerRow() if weight_dtype is torch.bfloat16 else torchao.PerTensor()
        return torchao.Float8DynamicActivationFloat8WeightConfig(granularity=granularity, set_inductor_config=False)


def build(config: quantizers.Quantizer) -> Fp8Dynamic:
    """The quantizer a configuration names."""
    return Fp8Dynamic(config)
