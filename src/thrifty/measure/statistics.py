"""Estimates with their intervals. Pure arithmetic on samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; the bounds are None where none applies."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1

    def scaled(self, factor: float) -> Interval:
        """The same estimate in another unit; `factor` is positive."""
        scale = [None if one is None else one * factor for one in (self.low, self.high)]
        return Interval(self.value * factor, scale[0], scale[1], self.n)

    def at_least(self, bound: float) -> Interval:
        """The same estimate of a quantity that cannot lie below `bound`, and so its interval neither."""
        return self if self.low is None else replace(self, low=max(bound, self.low))


def mean_interval(samples: np.ndarray) -> Interval:
    """Mean with Student's t interval over independent samples (1-D, at least one)."""
    values = np.asarray(samples, dtype=np.float64)
    n, mean = len(values), float(values.mean())
    if n < 2 or not math.isfinite(mean):
        return Interval(mean, n=n)
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def weighted_mean_interval(samples: np.ndarray, weights: np.ndarray, least_error: float = 0.0) -> Interval:
    """Mean of independent samples known with different precision, with the interval of Hartung and Knapp.

    Its width comes from the scatter of the samples about the mean, so that weights need only be in proportion; equal ones make
    it Student's t. Source: Hartung and Knapp, Statistics in Medicine 20, 2001.

    Args:
        weights: of each sample, above 0, in proportion to one over its variance; not chosen by the samples' values.
        least_error: of the mean, however little the samples scatter by chance.
    """
    n = len(samples)
    share = weights / weights.sum()
    mean = float((share * samples).sum())
    if n < 2 or not math.isfinite(mean):
        return Interval(mean, n=n)
    error = max(least_error, float(np.sqrt((share * (samples - mean) ** 2).sum() / (n - 1))))
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Interval(mean, mean - half, mean + half, n)


def trimmed_mean(samples: np.ndarray, share: float) -> tuple[float, float]:
    """Mean without the given share of the samples at each end, and its standard error, 0 for fewer than two.

    Source of the error, from the winsorised deviation: Tukey and McLaughlin, Sankhya A 25, 1963.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    n, cut = len(values), int(share * len(values))
    mean = float(values[cut : n - cut].mean())
    if n < 2:
        return mean, 0.0
    winsorised = np.clip(values, values[cut], values[n - cut - 1])
    return mean, float(winsorised.std(ddof=1) / ((1 - 2 * share) * math.sqrt(n)))


def share_interval(successes: int, n: int) -> Interval:
    """A proportion with Wilson's score interval. Source: Wilson, JASA 22, 1927."""
    z = 1.959963984540054
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At 0 and n successes the bound is the share itself; rounding must not put it a hair beside.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)), n)


def median_interval(samples: np.ndarray) -> Interval:
    """Median with the interval between order statistics (exact for independent samples, by the binomial)."""
    values = np.sort(np.asarray(samples, dtype=np.float64))
    n, median = len(values), float(np.median(values))
    rank = int(stats.binom.ppf(0.025, n, 0.5))
    if n < 6 or rank < 1:
        return Interval(median, n=n)
    return Interval(median, float(values[rank - 1]), float(values[n - rank]), n)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], columns: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """A statistic of examples with its percentile bootstrap interval. Source: Efron, 1979.

    Args:
        statistic: of an array shaped (examples, columns).
        columns: one row an example.
        resamples: 0 makes no interval.
    """
    generator = np.random.default_rng(seed)
    n = len(columns)
    draws = [statistic(columns[generator.integers(0, n, n)]) for _ in range(resamples)]
    finite = np.array([draw for draw in draws if math.isfinite(draw)])
    value = float(statistic(columns))
    if n < 2 or not resamples or len(finite) < resamples / 2:
        return Interval(value, n=n)
    low, high = np.quantile(finite, [0.025, 0.975])
    return Interval(value, float(low), float(high), n)
