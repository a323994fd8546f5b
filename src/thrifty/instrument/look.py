"""What a short look at two ways to predict tells, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thrifty.measure.comparison import Pair

_CLEARLY = 3.0
"""Standard errors that make a difference clear: a look is short, and there are many."""
_BETWEEN_LOOKS = 0.05
"""Standard error of a log ratio by what one process differs from the next, and one minute of the machine from another: its moods do not hit
all ways to predict alike. Looks at the same two differed by a tenth on a shared machine that changed its pace every few seconds."""


@dataclass(frozen=True)
class Look:
    """One's time by example over another's."""

    log: float
    error: float
    """Standard error of it, by the scatter of blocks and what looks differ by."""

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> Look:
        """What pairs of processes tell together."""
        told = [one.log_ratio() if len(one.first) > 1 else (0.0, math.inf) for one in pairs]
        errors = [math.hypot(error, _BETWEEN_LOOKS) for _, error in told]
        return cls(sum(log for log, _ in told) / len(told), math.hypot(*errors) / len(told))

    @property
    def times(self) -> float:
        """As many times as long it takes."""
        return math.exp(self.log)

    def clearly_above(self, times: float) -> bool:
        """Whether it takes more than `times` as long, beyond doubt."""
        return self.log - _CLEARLY * self.error > math.log(times)

    @property
    def clearly_faster(self) -> bool:
        """Whether the challenger is, beyond doubt."""
        return self.log + _CLEARLY * self.error < 0
