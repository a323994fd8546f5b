"""Whether what a model lost by being made cheaper is within a bound, in quality points, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from thrifty.measure.statistics import Interval


@dataclass(frozen=True)
class QualityLoss:
    """What a model is worse than another, in points: 100 x the difference of a fraction, percent of an error."""

    value: float
    low: float
    high: float
    n: int
    """Examples it is paired over."""

    def within(self, bound: float) -> bool:
        """Whether the loss found is within the bound."""
        return self.value <= bound

    def certified(self, bound: float) -> bool:
        """Whether the whole 95 % interval is."""
        return self.high <= bound

    def examples_needed(self, bound: float) -> int | None:
        """Examples with which a loss of this size would be certified, the interval narrowing with their root; None: with none."""
        if self.value >= bound:
            return None
        return math.ceil(self.n * ((self.high - self.value) / (bound - self.value)) ** 2)


def quality_loss(difference: Interval, better: str, fraction: bool, first: float) -> QualityLoss:
    """From the difference of a metric to the loss in points.

    Args:
        difference: the second model's minus the first's; without an interval it is as wide as can be.
        better: `higher` or `lower`.
        fraction: whether a point is a hundredth; else it is a percent of `first`.
        first: the first model's value.
    """
    scale = 100.0 if fraction else 100.0 / abs(first) if first else math.inf
    sign = -scale if better == "higher" else scale
    low = -math.inf if difference.low is None else difference.low
    high = math.inf if difference.high is None else difference.high
    least, most = sorted((sign * low, sign * high))
    return QualityLoss(sign * difference.value, least, most, difference.n)
