"""sparsity=auto: the largest share of the weights that may go within a bound on what it costs, by bisection."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thrifty.measure.loss_bound import QualityLoss

RESOLUTION = 0.01
MOST_EVALUATIONS = 12


@dataclass(frozen=True)
class Evaluation:
    """A sparsity that was tried."""

    sparsity: float
    loss: QualityLoss


class SparsitySearch:
    """Halves the span between a sparsity that keeps within the bound and one that does not; none of the weights gone costs nothing.

    It goes by the loss found, not by what is certified: few examples certify nothing, and the largest sparsity whose loss was within
    the bound is then still the best guess, told as one.

    Args:
        bound: quality points that may be lost.
    """

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self.tried: list[Evaluation] = []
        self.refused: list[float] = []
        self._low, self._high = 0.0, 1.0

    def __iter__(self) -> Iterator[float]:
        """Sparsities to try; `tell` what became of each before the next is asked for."""
        while self._high - self._low > RESOLUTION * 1.001 and len(self.tried) + len(self.refused) < MOST_EVALUATIONS:
            yield round((self._low + self._high) / 2, 2)

    def tell(self, sparsity: float, loss: QualityLoss) -> bool:
        """What a sparsity cost; whether it is the best so far."""
        self.tried.append(Evaluation(sparsity, loss))
        if loss.within(self.bound):
            self._low = sparsity
            return True
        self._high = sparsity
        return False

    def refuse(self, sparsity: float) -> None:
        """No model of that sparsity can be made: smaller ones are tried, and none that is larger."""
        self._high = sparsity
        self.refused.append(sparsity)

    @property
    def expected(self) -> int:
        """Evaluations in all, about."""
        return len(self.tried) + max(1, math.ceil(math.log2((self._high - self._low) / RESOLUTION)))

    @property
    def best(self) -> Evaluation | None:
        """The largest sparsity that kept within the bound; None where none did."""
        return max((one for one in self.tried if one.loss.within(self.bound)), key=lambda one: one.sparsity, default=None)

    def rows(self) -> list[dict[str, Any]]:
        """What was tried, in order, as the record has it: points lost, with their interval."""
        return [
            {
                "sparsity": one.sparsity,
                "loss": one.loss.value,
                **{name: getattr(one.loss, name) for name in ("low", "high", "n")},
                "certified": one.loss.certified(self.bound),
            }
            for one in self.tried
        ]

    def flags(self) -> list[str]:
        """What the record should warn of."""
        if self.best is None:
            return ["bound_not_met"]
        return [] if self.best.loss.certified(self.bound) else ["not_certified"]

    def sentence(self) -> str:
        """What the search found, and how sure it is."""
        best, count = self.best, len(self.tried)
        head = f"sparsity=auto max_quality_loss={self.bound:g}: "
        if self.refused:
            head += f"{', '.join(f'{one:g}' for one in self.refused)} could not be made; "
        if best is None:
            return f"{head}none of {count} sparsities, down to {min(one.sparsity for one in self.tried):g}, kept within it"
        loss = best.loss
        span = f"{loss.value:.2f} points lost on validation ({loss.low:.2f} to {loss.high:.2f}, paired over {loss.n} examples)"
        if loss.certified(self.bound):
            return f"{head}{best.sparsity:g} after {count} evaluations, {span}"
        needed = loss.examples_needed(self.bound)
        return (
            f"{head}{best.sparsity:g} after {count} evaluations, {span}: cannot certify"
            + (
                f"; needs about {needed:,} examples"
                if needed is not None
                else "; no number of examples would, the loss is at the bound"
            )
            + self._certified()
        )

    def _certified(self) -> str:
        sure = max((one for one in self.tried if one.loss.certified(self.bound)), key=lambda one: one.sparsity, default=None)
        return "" if sure is None else f"; {sure.sparsity:g} is certified"
