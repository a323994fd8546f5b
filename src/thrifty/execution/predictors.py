"""Who predicts all examples there are: this process, or several; both tell how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from thrifty.execution.prediction_batch_size import find_batch_size
from thrifty.execution.prediction_pool import PredictionPool
from thrifty.methods.prediction import Predict
from thrifty.tasks.prediction_batches import Examples, Predictor

Tell = Callable[[int, int], object]
"""Examples that are predicted, and how many there are."""


class InThisProcess(Predictor):
    """One batch after the other."""

    def __init__(self, predict: Predict, batch_size: int, tell: Tell) -> None:
        self._predict, self.batch_size, self.tell = predict, batch_size, tell

    def predict(self, examples: Examples) -> Iterator[Tensor]:
        """Outputs of all examples in their order."""
        full = min(self.batch_size, examples.count)
        outputs = (self._predict(inputs, full) for inputs in examples.batches(self.batch_size))
        return _told(outputs, examples.count, self.tell)


class InProcesses(Predictor):
    """As many batches at a time as the processes of a pool take.

    Args:
        batch_size: None finds the fastest.
        say: is told, in a sentence, which that is.
    """

    def __init__(self, pool: PredictionPool, batch_size: int | None, tell: Tell, say: Callable[[str], object]) -> None:
        self.pool, self.batch_size, self.tell, self.say = pool, batch_size, tell, say

    def predict(self, examples: Examples) -> Iterator[Tensor]:
        """Outputs of all examples in their order."""
        size = self.batch_size
        if size is None and examples.count:
            found = find_batch_size(self.pool, examples)
            size = found.size
            self.say(found.about)
        size = size or 1
        outputs = self.pool.map(examples.batches(size), count=-(-examples.count // size))
        return _told(outputs, examples.count, self.tell)


def _told(outputs: Iterable[Tensor], count: int, tell: Tell) -> Iterator[Tensor]:
    done = 0
    for one in outputs:
        done += len(one)
        tell(done, count)
        yield one
