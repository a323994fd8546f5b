"""Weights in 8 bits, a scale for each output; activations stay as they are, and weights are turned back at every call."""

from __future__ import annotations

from typing import Any

import torch

from thrifty.config.choices import quantizers
from thrifty.quantizers.torchao_linear import TorchaoLinear, torchao_quantization


class Int8Weight(TorchaoLinear):
    """Saves bytes, and time only where reading weights takes the time."""

    def settings(self, weight_dtype: torch.dtype) -> Any:
        """torchao's configuration."""
        return torchao_quantization().Int8WeightOnlyConfig(set_inductor_config=False)


def build(config: quantizers.Quantizer) -> Int8Weight:
    """The quantizer a configuration names."""
    return Int8Weight(config)
