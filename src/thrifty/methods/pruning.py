"""Masks over a training: tightened when it is time, held at every step."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner
from thrifty.pruners.masking import Masking


def by_rounds(factor_of: Callable[[int], Callable[[int], float]], starts: list[int], steps: int) -> Callable[[int], float]:
    """The learning rate's factor where each round has a whole schedule.

    Args:
        factor_of: steps of a round -> its schedule.
        starts: of the rounds, ascending, the first 0.
        steps: in all.
    """
    lengths = [end - start for start, end in zip(starts, [*starts[1:], steps], strict=True)]
    factors = [factor_of(one) for one in lengths]

    def factor(step: int) -> float:
        place = bisect.bisect_right(starts, step) - 1
        return factors[place](step - starts[place])

    return factor


class MaskUpkeep:
    """Follows the steps of a training and masks more of the weights at those that are due.

    Args:
        due: optimiser steps made -> share that is masked from then on; its last value is the whole.
        calibration: made anew each time, as activations change with what is masked; None where the pruner looks at none.
        rewound: weights to go back to after each masking, by name; None goes on with those there are.
    """

    def __init__(
        self,
        model: nn.Module,
        pruner: MaskPruner,
        due: dict[int, float],
        calibration: Callable[[], Calibration] | None,
        rewound: dict[str, Tensor] | None = None,
    ) -> None:
        self.model, self.pruner, self.due, self.rewound = model, pruner, due, rewound
        self._calibration = calibration
        self.masking: Masking | None = None
        self.last = max(due)
        """The step after which nothing more goes."""
        self._step = 0

    def prune(self, step: int) -> None:
        """Mask what is due after `step` optimiser steps, and hold it."""
        held = None if self.masking is None else self.masking.masks
        with torch.no_grad():
            calibration = None if self._calibration is None else self._calibration()
            masks = self.pruner.masks(self.model, self.due[step], calibration, held)
            if self.masking is None:
                self.masking = Masking(self.model, masks)
            else:
                self.masking.tighten(masks)
            if self.rewound is not None:
                self.model.load_state_dict(self.rewound)
        self.masking.hold()

    def before_step(self, lr: float) -> None:
        """Let the pruner look at the gradients, while weights are still to go."""
        if self._step < self.last:
            self.pruner.observe(self.model, lr)

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Mask more where it is due, and hold what is masked."""
        self._step = step
        if step in self.due:
            self.prune(step)
            if self.rewound is not None:
                optimizer.state.clear()
        elif self.masking is not None:
            self.masking.hold()

    def state(self) -> dict[str, Any]:
        """What `restore` takes up."""
        return {
            "step": self._step,
            "masks": None if self.masking is None else self.masking.state(),
            "pruner": self.pruner.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._step = state["step"]
        if state["masks"] is not None:
            if self.masking is None:
                self.masking = Masking(self.model, state["masks"])
            else:
                self.masking.restore(state["masks"])
            self.masking.hold()
        self.pruner.restore(state["pruner"])
