"""Which of a search's finalists wins: the one that takes least, and of those as good within noise the one that loses least."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thrifty.instrument.race import Standing
from thrifty.measure.comparison import Comparison

_COUNTED = ("file",)
"""Objectives that are counted and have no noise."""
_ALIKE = 1.03
"""Times as long as the fastest that nobody would notice. Beyond it a wide interval is no reason to give up what was found to be faster."""
PAIRED = ("latency", "throughput")
"""Objectives that are measured in pairs of arms."""


@dataclass(frozen=True)
class Finals:
    """Decides.

    Args:
        over: the second's time over the first's, of those that were measured together.
        file: MiB of the weights file.
    """

    objective: str
    baseline: Standing
    over: Callable[[Standing, Standing], Comparison | None]
    file: Callable[[Standing], float]

    def winner(self, finalists: Sequence[Standing]) -> Standing:
        """The winner, which may be the baseline; everybody's standing says why not."""
        order = sorted([self.baseline, *finalists], key=_value)
        best = order[0]
        tied = [best, *(one for one in order[1:] if self._as_good(best, one))]
        winner = min(tied, key=lambda one: (_lost(one), self.file(one)))
        for one in finalists:
            if one is not winner:
                one.why = one.why or self._why(one, winner, one in tied)
        if winner is not self.baseline:
            winner.status, winner.why = "winner", ""
        return winner

    def _why(self, one: Standing, winner: Standing, tied: bool) -> str:
        name = "the dense model" if winner is self.baseline else winner.candidate.name
        if not tied:
            return f"{_value(one) / _value(winner):.2f} times what {name} takes"
        if _lost(one) > _lost(winner):
            return f"as good within noise as {name}, and loses more: {_lost(one):.2f} points, not {_lost(winner):.2f}"
        return f"as good within noise as {name}, whose file is no larger"

    def _as_good(self, best: Standing, other: Standing) -> bool:
        """Whether no difference is to be seen between them."""
        if self.objective in _COUNTED:
            return math.isclose(_value(best), _value(other), rel_tol=1e-3)
        if self.baseline in (best, other):
            if best is self.baseline and _value(other) > _ALIKE:
                return False
            against = (other if best is self.baseline else best).over_baseline()
            return against is None or against.low is None or against.high is None or against.low <= 1 <= against.high
        if _value(other) > _ALIKE * _value(best):
            return False
        if self.objective in PAIRED:
            direct = self.over(best, other)
            return direct is not None and not direct.differs
        first, second = best.over_baseline(), other.over_baseline()
        return first is not None and second is not None and (second.low or second.value) <= (first.high or first.value)


def _value(one: Standing) -> float:
    over = one.over_baseline()
    return math.inf if over is None else over.value


def _lost(one: Standing) -> float:
    """Points to the hundredth: less is noise."""
    return math.inf if one.loss is None else round(one.loss.value, 2) + 0.0
