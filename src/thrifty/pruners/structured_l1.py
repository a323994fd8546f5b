"""Units go whose weights are smallest: nothing but the weights is looked at.

Source: Li et al., "Pruning Filters for Efficient ConvNets", 2017, for the L1 norm of a filter. There each layer loses a share of its
own; here a layer's weights are divided by their mean size first, so that units of all layers can be ranked together.
"""

from __future__ import annotations

from torch import Tensor, nn

from thrifty.config.choices.pruners import Structured
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import UnitPruner
from thrifty.pruners.units import shrink_units


class StructuredL1(UnitPruner):
    """Ranks units by the mean size of their weights, each in terms of its layer's mean."""

    config: Structured

    def shrink(self, model: nn.Module, sparsity: float, example: Tensor, calibration: Calibration | None = None) -> nn.Module:
        """A copy, in evaluation mode, without the units whose weights are smallest; needs no calibration.

        Args:
            example: a batch of inputs, on the model's device.

        Raises:
            BadConfiguration: `protect` names a layer that there is not.
            Unsupported: there are no units to remove, or not as many.
        """
        config = self.config
        sizes = {
            f"{name}.weight": _relative(layer.weight.detach())
            for name, layer in model.named_modules()
            if isinstance(layer, (nn.Linear, nn.Conv2d))
        }
        smaller, self.about = shrink_units(model, example, sizes, sparsity, config.counts, config.multiple, config.protect)
        return smaller


def _relative(weight: Tensor) -> Tensor:
    """Sizes in terms of their mean; a layer of zeros is as small as can be."""
    sizes = weight.double().abs()
    mean = sizes.mean()
    return sizes / mean if mean > 0 else sizes


def build(config: Structured) -> UnitPruner:
    """The pruner a configuration names."""
    return StructuredL1(config)
