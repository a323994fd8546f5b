"""Weights go at random: the control that every other pruner has to beat."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.pruners import Scoped
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner, Masks
from thrifty.pruners.selection import by_scope
from thrifty.pruners.targets import find_targets


class RandomPruner(MaskPruner):
    """Draws a score for each weight, the same ones in every call: so more sparsity only adds to what goes."""

    config: Scoped
    seed: int = 0
    """Of the draws, which touch no other random numbers."""

    def masks(
        self, model: nn.Module, sparsity: float, calibration: Calibration | None = None, held: Masks | None = None
    ) -> Masks:
        """See `MaskPruner`; a calibration is not looked at."""
        targets = find_targets(model, self.config.protect)
        self.about = [targets.protected_sentence]
        generator = torch.Generator().manual_seed(self.seed)
        # Drawn on the CPU, so that a seed removes the same weights on every device.
        scores = {name: torch.rand(one.shape, generator=generator).to(one.device) for name, one in targets.weights.items()}
        return by_scope(self.config.scope, scores, sparsity, held)


def build(config: Scoped) -> MaskPruner:
    """The pruner of a configuration."""
    return RandomPruner(config)
