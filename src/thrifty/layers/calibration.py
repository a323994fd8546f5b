"""Training examples to look at a model with, for what ranks weights or chooses scales by activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Calibration:
    """Training examples, and how to run a module on them."""

    batches: list[tuple[Tensor, Tensor]]
    """Inputs and targets, on the model's device."""
    loss: Callable[[Tensor, Tensor], Tensor]
    """(outputs, targets) -> mean loss, a scalar."""
    forward: Callable[[nn.Module, Tensor], Tensor]
    """Calls a module on inputs, in the run's precision."""

    def outputs(self, model: nn.Module) -> Iterator[Tensor]:
        """Of every batch, in order; the caller decides on gradients and on the mode."""
        for inputs, _ in self.batches:
            yield self.forward(model, inputs)

    @property
    def examples(self) -> int:
        """In all batches."""
        return sum(len(inputs) for inputs, _ in self.batches)
