"""The smallest weights go.

Source: Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015.
"""

from __future__ import annotations

from torch import nn

from thrifty.config.choices.pruners import Scoped
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner, Masks
from thrifty.pruners.selection import by_scope
from thrifty.pruners.targets import find_targets


class MagnitudePruner(MaskPruner):
    """Scores a weight by its absolute value."""

    config: Scoped

    def masks(
        self, model: nn.Module, sparsity: float, calibration: Calibration | None = None, held: Masks | None = None
    ) -> Masks:
        """See `MaskPruner`; a calibration is not looked at."""
        targets = find_targets(model, self.config.protect)
        self.about = [targets.protected_sentence]
        return by_scope(self.config.scope, {name: one.detach().abs() for name, one in targets.weights.items()}, sparsity, held)


def build(config: Scoped) -> MaskPruner:
    """The pruner of a configuration."""
    return MagnitudePruner(config)
