"""What there is to predict, and who predicts it: a model, or one that chooses its batches and may be in several processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """Inputs of a model, made when they are asked for."""

    count: int
    inputs: Callable[[int, int], Tensor]
    """Those of the examples from the first number up to, without it, the second; the first dimension is theirs."""

    def batches(self, size: int) -> Iterator[Tensor]:
        """All, `size` at a time; the last may be fewer."""
        for first in range(0, self.count, size):
            yield self.inputs(first, min(first + size, self.count))


class Predictor(ABC):
    """A model that knows in which batches it is fastest."""

    @abstractmethod
    def predict(self, examples: Examples) -> Iterator[Tensor]:
        """Outputs of all examples in their order, float32 on the CPU, some at a time."""


def outputs_of(model: Predictor | Callable[[Tensor], Tensor], examples: Examples, batch_size: int) -> Iterator[Tensor]:
    """Outputs of all examples in their order, some at a time.

    Args:
        batch_size: of a model that does not choose it.
    """
    if isinstance(model, Predictor):
        yield from model.predict(examples)
        return
    for inputs in examples.batches(batch_size):
        # The model may be on another device; where its inputs go is its own affair, the outputs are wanted here.
        yield model(inputs).detach().float().cpu()
