"""From blocks of two arms to a verdict. Pure arithmetic, tried on simulated samples whose truth is known.

The unit of replication is a pair of fresh processes: what differs from one process to the next (where its memory lies, which
core it got) would otherwise pass for a difference between the arms. Within a pair, blocks of the two arms follow each other
closely, so that what the machine does meanwhile hits both. The pair's value is the mean of the middle half of the log ratios of
neighbouring blocks: a block that something else fell into moves their mean, and hardly the mean of the middle half, which
scatters less than their median. A pair whose blocks scattered much, as the machine changed its pace meanwhile, counts for less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from thrifty.measure.statistics import Interval, bootstrap_interval, trimmed_mean, weighted_mean_interval

SMALLEST_CLAIM = 0.02
"""A difference smaller than this is never claimed: what it would take to be sure of it is dearer than it is worth."""
_BETWEEN_PAIRS = 0.01
"""Log ratio by which pairs of processes differ however calm the machine, on the cautious side of what is found (0.3 to 1 %): the
blocks' scatter alone would let a single calm pair decide."""


@dataclass(frozen=True)
class Pair:
    """Two fresh processes that took turns: seconds by unit of work of each block."""

    first: list[float]
    second: list[float]
    second_led: bool = False
    """Whether the second arm's block came first in every turn."""

    def log_ratio(self) -> tuple[float, float]:
        """The pair's value: log of the second arm's time over the first's, robust against blocks that were disturbed; and its
        standard error, by the scatter of its blocks.

        In the order of time, two neighbouring blocks give a log ratio; changes to the second arm and back follow each other, so
        that a steady drift of the machine cancels.
        """
        turns = (self.second, self.first) if self.second_led else (self.first, self.second)
        steps = np.diff(np.log(np.stack(turns, axis=1).ravel()))
        ratios = steps * np.where(np.arange(len(steps)) % 2, -1, 1) * (-1 if self.second_led else 1)
        # A block is in both of its neighbours' ratios: only every second is independent of the one before.
        return trimmed_mean(ratios, 0.25)[0], trimmed_mean(ratios[::2], 0.25)[1]


@dataclass(frozen=True)
class Comparison:
    """The second arm's time over the first's."""

    ratio: Interval
    """Over the pairs' log ratios, each weighted by how well its blocks tell it."""
    halves_agree: bool
    """Whether the first half of the pairs and the second tell the same: if not, something changed while we measured."""
    noise_floor: float
    """Share below which this machine shows differences between an arm and itself."""
    spoilt: tuple[str, ...] = ()
    """What went on meanwhile that taking turns does not cancel; nothing is claimed then."""
    disturbed: float = 0.0
    """Share by which an arm would be slower, had all that others took of the cores been taken from it alone: a difference up to
    that could be theirs."""

    @property
    def half_width(self) -> float:
        """Half the interval's width, as a share of the ratio; infinite for a single pair."""
        if self.ratio.low is None or self.ratio.high is None:
            return math.inf
        return (math.log(self.ratio.high) - math.log(self.ratio.low)) / 2

    @property
    def smallest_claim(self) -> float:
        """Share a difference must exceed to be claimed."""
        return max(SMALLEST_CLAIM, self.noise_floor, self.disturbed)

    @property
    def resolvable(self) -> float:
        """The smallest difference that this comparison would as a rule (in four of five tries) have claimed, as a share."""
        if not math.isfinite(self.half_width):
            return math.inf
        degrees = self.ratio.n - 1
        error = self.half_width / float(stats.t.ppf(0.975, degrees))
        certain = self.half_width + error * float(stats.t.ppf(0.8, degrees))
        return math.expm1(max(certain, math.log1p(self.smallest_claim) + error * float(stats.t.ppf(0.8, degrees))))

    @property
    def withheld(self) -> str | None:
        """Why nothing is claimed, whatever the interval; None where nothing stands in the way."""
        if self.spoilt:
            return ", ".join(self.spoilt)
        if not self.halves_agree:
            return "the first half of the pairs and the second disagree"
        if self._excludes_one and self._exceeds(max(SMALLEST_CLAIM, self.noise_floor)) and not self._exceeds(self.disturbed):
            return "what others took of the cores meanwhile could be all of it"
        return None

    @property
    def differs(self) -> bool:
        """Whether a difference is claimed: the interval excludes 1, and the size exceeds what is never claimed."""
        return self.withheld is None and self._excludes_one and self._exceeds(self.smallest_claim)

    @property
    def _excludes_one(self) -> bool:
        low, high = self.ratio.low, self.ratio.high
        return low is not None and high is not None and (low > 1 or high < 1)

    def _exceeds(self, share: float) -> bool:
        return abs(math.log(self.ratio.value)) > math.log1p(share)


def compare(pairs: Sequence[Pair], noise_floor: float = 0.0, spoilt: Sequence[str] = (), disturbed: float = 0.0) -> Comparison:
    """The comparison that pairs of processes make; at least one pair of at least one block each."""
    logs, weights, errors = _weighted(pairs)
    # A few pairs may agree by chance, and that is when we would stop: the interval is no narrower than the blocks' scatter allows.
    blocks_error = 0.0 if (errors == 0).any() else float((errors**-2.0).sum() ** -0.5)
    mean = weighted_mean_interval(logs, weights, blocks_error)
    return Comparison(_exponential(mean), _halves_agree(logs), noise_floor, tuple(spoilt), disturbed)


def bootstrap(pairs: Sequence[Pair]) -> Interval:
    """The same ratio with the interval that drawing pairs again gives; stands beside the other, and decides nothing."""
    columns = np.stack(_weighted(pairs)[:2], axis=1)
    return _exponential(bootstrap_interval(lambda drawn: float(np.average(drawn[:, 0], weights=drawn[:, 1])), columns))


def _weighted(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log ratio of each pair, its weight, and its error by its blocks."""
    logs, errors = np.array([pair.log_ratio() for pair in pairs]).T
    return logs, 1 / (errors**2 + _BETWEEN_PAIRS**2), errors


def _halves_agree(logs: np.ndarray) -> bool:
    """Welch's test on the two halves; disagreement is told at 1 in 1000, as it withholds what would else be claimed."""
    half = len(logs) // 2
    if half < 3:
        return True
    first, second = logs[:half], logs[half:]
    if math.isclose(first.std() + second.std(), 0, abs_tol=1e-12):
        return bool(np.isclose(first.mean(), second.mean()))
    return float(np.asarray(stats.ttest_ind(first, second, equal_var=False))[1]) > 0.001


def _exponential(logs: Interval) -> Interval:
    low, high = (None if one is None else math.exp(one) for one in (logs.low, logs.high))
    return Interval(math.exp(logs.value), low, high, logs.n)
