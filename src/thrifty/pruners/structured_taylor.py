"""Units go without which the loss would change least, to first order.

Source: Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019. A weight's importance is |weight * gradient|, the
change of the loss if it were zero, averaged over the batches; a unit's is the mean over its weights (there the sum), so that it is
loss per weight removed and a head compares with a neuron.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from thrifty.config.choices.pruners import Structured
from thrifty.errors import BadConfiguration, Diverged
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import UnitPruner
from thrifty.pruners.units import Importance, shrink_units

FEWEST_EXAMPLES = 8
"""Gradients over fewer say more about the examples than about the weights."""


class StructuredTaylor(UnitPruner):
    """Ranks units by the mean of |weight * gradient| over calibration batches."""

    calibrates = True
    config: Structured

    def shrink(self, model: nn.Module, sparsity: float, example: Tensor, calibration: Calibration | None = None) -> nn.Module:
        """A copy, in evaluation mode, without the units that the loss depends on least.

        Args:
            example: a batch of inputs, on the model's device.
            calibration: of 8 examples or more.

        Raises:
            BadConfiguration: too few calibration examples, or `protect` names a layer that there is not.
            Diverged: a gradient is infinite or not a number.
            Unsupported: there are no units to remove, or not as many.
        """
        if calibration is None or calibration.examples < FEWEST_EXAMPLES:
            given = 0 if calibration is None else calibration.examples
            raise BadConfiguration(
                f"method.calibration={given}: are too few examples for pruner=structured_taylor, which ranks by gradients; give "
                f"{FEWEST_EXAMPLES} or more, or take pruner=structured_l1"
            )
        config = self.config
        importance = _first_order(model, calibration)
        smaller, sentences = shrink_units(model, example, importance, sparsity, config.counts, config.multiple, config.protect)
        self.about = [*sentences, f"ranked by gradients over {calibration.examples:,} calibration examples"]
        return smaller


def _first_order(model: nn.Module, calibration: Calibration) -> Importance:
    """|weight * gradient| of every linear layer's and convolution's weight, mean over the batches by their examples.

    The gradients are those of a copy in evaluation mode: the model keeps its own, and dropout and running statistics stay out of it.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(True)
    weights = {
        f"{name}.weight": layer.weight for name, layer in copied.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
    }
    importance = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    for inputs, targets in calibration.batches:
        with torch.enable_grad():
            loss = calibration.loss(calibration.forward(copied, inputs), targets)
            gradients = torch.autograd.grad(loss, list(weights.values()))
        share = len(inputs) / calibration.examples
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            importance[name] += share * (weight.detach().float() * gradient.float()).abs()
    broken = next((name for name, one in importance.items() if not one.isfinite().all()), None)
    if broken is not None:
        raise Diverged(
            f"pruner=structured_taylor: the gradient of {broken} is infinite or not a number; train the dense model anew"
        )
    return importance


def build(config: Structured) -> UnitPruner:
    """The pruner a configuration names."""
    return StructuredTaylor(config)
