"""What a short look at two ways to predict tells, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

_CLEARLY = 3.0
"""Standard errors that make a difference clear: a look is short, and there are many."""


@dataclass(frozen=True)
class Look:
    """One's time by example over another's."""

    log: float
    error: float
    """Standard error of it, by the scatter of blocks and what processes differ by."""

    def clearly_above(self, times: float) -> bool:
        """Whether it takes more than `times` as long, beyond doubt."""
        return self.log - _CLEARLY * self.error > math.log(times)

    @property
    def clearly_faster(self) -> bool:
        """Whether the challenger is, beyond doubt."""
        return self.log + _CLEARLY * self.error < 0

    def over(self, other: Look) -> Look:
        """Of two looks at the same rival, the first over the second."""
        return Look(self.log - other.log, math.hypot(self.error, other.error))
