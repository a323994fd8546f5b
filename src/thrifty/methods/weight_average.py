"""A running mean of the weights. Source: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """A decaying mean of a model's weights and of the running statistics of its norms.

    The decay grows from 0.1 to `decay` with the steps, min(decay, (1 + t) / (10 + t)), so that a short run's mean is not that of its
    beginning (as TensorFlow's ExponentialMovingAverage has it).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._live: list[Tensor] = [one for one in model.state_dict().values() if one.is_floating_point()]
        self._mean = [one.clone() for one in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def state(self) -> dict[str, Any]:
        """What `restore` takes up."""
        return {"steps": self.steps, "mean": list(self._mean)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.steps = state["steps"]
        _copy(state["mean"], self._mean)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the model has the mean for its weights."""
        before = [one.clone() for one in self._live]
        self.keep()
        try:
            yield
        finally:
            _copy(before, self._live)

    def keep(self) -> None:
        """Give the model the mean for its weights, for good."""
        _copy(self._mean, self._live)


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for kept, live in zip(source, target, strict=True):
        live.copy_(kept)
