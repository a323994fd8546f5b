"""Which layers bear pruning: each pruned alone at several levels, without any training after it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from thrifty.config import registry
from thrifty.config.choices.pruners import Pruner
from thrifty.errors import Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.measure.statistics import Interval
from thrifty.pruners.base import MaskPruner
from thrifty.pruners.masking import Masking
from thrifty.pruners.targets import find_targets


@dataclass(frozen=True)
class LayerAlone:
    """A layer at a level."""

    layer: str
    """Name of its weight."""
    weights: int
    sparsity: float
    """Of this layer."""
    value: float
    """The deciding metric on validation."""
    difference: Interval
    """The same, minus the dense model's, paired over examples."""

    def as_row(self) -> dict[str, Any]:
        """As the record has it."""
        plain = {name: getattr(self, name) for name in ("layer", "weights", "sparsity", "value")}
        return {**plain, "difference": self.difference.value, "low": self.difference.low, "high": self.difference.high}


def layers_alone(
    model: nn.Module,
    config: Pruner,
    levels: list[float],
    example: Tensor,
    calibration: Callable[[], Calibration],
    judge: Callable[[nn.Module], tuple[float, Interval]],
    tell: Callable[[str], None],
    stopped: Callable[[], bool],
) -> Iterator[LayerAlone]:
    """Every layer that the pruner may prune, at every level; the model is left as it was.

    Args:
        judge: a pruned model -> its quality, and the difference to the dense one.
        tell: receives a sentence before each layer.
        stopped: asked before each level whether to end.

    Raises:
        Unsupported: the pruner takes more than a layer at a time.
    """
    if config.name == "layer_drop":
        raise Unsupported(
            "pruner=layer_drop method.sensitivity: it drops whole blocks, not layers; take another pruner, or leave it out"
        )
    targets = find_targets(model, config.protect)
    for place, (name, weight) in enumerate(targets.weights.items(), 1):
        tell(f"sensitivity: {name}, {place} of {len(targets.weights)} layers")
        others = [one for one in targets.weights if one != name]
        alone = registry.load("pruner", config.name)(replace(config, protect=[*config.protect, *others]))
        for level in levels:
            if stopped():
                return
            pruned = copy.deepcopy(model)
            found = calibration() if alone.calibrates else None
            try:
                if isinstance(alone, MaskPruner):
                    with torch.no_grad():
                        Masking(pruned, alone.masks(pruned, level, found)).hold()
                else:
                    pruned = alone.shrink(pruned, level, example, found)
            except Unsupported:
                continue  # no units of its own, as a projection into the stream has none, or too few for this level
            value, difference = judge(pruned)
            yield LayerAlone(name, weight.numel(), level, value, difference)
