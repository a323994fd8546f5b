"""Weights in 4 bits, a scale and an offset for each group of neighbours; activations stay as they are."""

from __future__ import annotations

from torch import Tensor, nn

from thrifty.config.choices import quantizers
from thrifty.layers.quantized import Int4Linear
from thrifty.quantizers.base import Quantizer

_OUTPUTS = 16
"""The processors' kernel takes outputs in bundles of so many."""


class Int4Weight(Quantizer):
    """Of linear layers whose inputs divide into groups."""

    def __init__(self, config: quantizers.Grouped) -> None:
        super().__init__(config)
        self.group = config.group

    def unsupported(self, device_type: str) -> str | None:
        """Macs' GPUs, where we have not tried it."""
        return "quantizer=int4_weight: has not been tried on device=mps; take device=cpu" if device_type == "mps" else None

    def unfit(self, layer: nn.Module) -> str | None:
        """Convolutions, and shapes that do not divide."""
        if not isinstance(layer, nn.Linear):
            return "the scheme takes linear layers, and it is a convolution"
        if layer.in_features % self.group:
            return f"its {layer.in_features} inputs do not divide into groups of {self.group}"
        if layer.out_features % _OUTPUTS:
            return f"its {layer.out_features} outputs do not divide by {_OUTPUTS}, as the kernel wants"
        return None

    def converted(self, layer: nn.Module, inputs: tuple[float, int] | None = None) -> nn.Module:
        """A layer of packed weights."""
        assert isinstance(layer, nn.Linear)
        return Int4Linear(layer, self.group)

    def rounded(self, weight: Tensor) -> Tensor:
        """The nearest of 16 values for each group."""
        grouped = weight.view(weight.shape[0], -1, self.group)
        low, high = grouped.detach().amin(2, keepdim=True), grouped.detach().amax(2, keepdim=True)
        scale = ((high - low) / 15).clamp_min(1e-6)
        return (((grouped - low) / scale).round().clamp(0, 15) * scale + low).view(weight.shape)


def build(config: quantizers.Grouped) -> Int4Weight:
    """The quantizer a configuration names."""
    return Int4Weight(config)
