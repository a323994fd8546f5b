"""Weights in 8 bits, a scale for each output; activations in 8 bits, a scale for each row, found at every call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from thrifty.config.choices import quantizers
from thrifty.layers.quantized import RowsLinear
from thrifty.quantizers.torchao_linear import TorchaoLinear, torchao_quantization


class Int8Dynamic(TorchaoLinear):
    """Products of integers, where the processor has them."""

    rounds_inputs = True

    def settings(self, weight_dtype: torch.dtype) -> Any:
        """torchao's configuration."""
        return torchao_quantization().Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)

    def converted(self, layer: nn.Module, inputs: tuple[float, int] | None = None) -> nn.Module:
        """A layer that is right for a single row, too."""
        found = super().converted(layer)
        assert isinstance(found, nn.Linear)
        return RowsLinear(found)

    def rounded(self, weight: Tensor) -> Tensor:
        """The nearest of 256 values for each output."""
        scale = (weight.detach().abs().amax(1, keepdim=True) / 127.5).clamp_min(torch.finfo(torch.float32).eps)
        return (weight * (1 / scale)).round().clamp(-128, 127) * scale


def build(config: quantizers.Quantizer) -> Int8Dynamic:
    """The quantizer a configuration names."""
    return Int8Dynamic(config)
