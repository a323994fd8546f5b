"""Weights go that fine-tuning moves towards zero.

Source: Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020. There a removed weight may come back, as the dense
ones are kept beside; here it is zero and stays so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from thrifty.config.choices.pruners import Movement
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner, Masks
from thrifty.pruners.selection import by_scope
from thrifty.pruners.targets import find_targets


class MovementPruner(MaskPruner):
    """Scores a weight by the sum of -lr * w * gradient over the steps observed: positive where steps have led away from zero.

    Before any step was observed it goes by the weights' size, so that the first round of pace=iterative is not one by place.
    """

    config: Movement

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.steps = 0
        """Observed so far."""
        self._scores: dict[str, Tensor] = {}
        self._watched: tuple[nn.Module, dict[str, nn.Parameter]] | None = None

    @torch.no_grad()
    def observe(self, model: nn.Module, lr: float) -> None:
        """Add a step's movements. One whose gradients are not all finite adds nothing: the optimiser will not make it either.

        Raises:
            Unsupported: the model has nothing to prune.
        """
        if self._watched is None or self._watched[0] is not model:  # looking through a model takes longer than many a step
            self._watched = (model, find_targets(model, self.config.protect).weights)
        moved = {name: one for name, one in self._watched[1].items() if one.grad is not None}
        if not moved:
            return
        gradients = {name: one.grad.float() for name, one in moved.items() if one.grad is not None}
        # Norms, not a look at each number, and left on the device: nothing here waits for it.
        usable = torch.stack(torch._foreach_norm(list(gradients.values()))).isfinite().all()  # pyright: ignore[reportPrivateImportUsage]
        for name, weight in moved.items():
            movement = torch.where(usable, gradients[name] * weight.float(), 0.0)
            self._score(name, weight).add_(movement, alpha=-lr)
        self.steps += 1

    def masks(
        self, model: nn.Module, sparsity: float, calibration: Calibration | None = None, held: Masks | None = None
    ) -> Masks:
        """See `MaskPruner`; a calibration is not looked at."""
        targets = find_targets(model, self.config.protect)
        self.about = [targets.protected_sentence]
        if self.steps:
            scores = {name: self._score(name, one) for name, one in targets.weights.items()}
        else:
            scores = {name: one.detach().abs() for name, one in targets.weights.items()}
            if sparsity:
                self.about.append("no step had been observed, so the first weights went by size")
        return by_scope(self.config.scope, scores, sparsity, held)

    def state(self) -> dict[str, Any]:
        """The scores so far, and how many steps they are of."""
        return {"steps": self.steps, "scores": {name: one.to("cpu", copy=True) for name, one in self._scores.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.steps = state["steps"]
        self._scores = {name: one.clone() for name, one in state["scores"].items()}

    def _score(self, name: str, weight: nn.Parameter) -> Tensor:
        """Of a weight so far, on its device."""
        found = self._scores.get(name)
        if found is None:
            found = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        self._scores[name] = found.to(weight.device)
        return self._scores[name]


def build(config: Movement) -> MaskPruner:
    """The pruner of a configuration."""
    return MovementPruner(config)
