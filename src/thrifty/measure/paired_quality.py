"""Quality of two models on the same examples: what differs is the models, not which examples they were asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from thrifty.measure.class_quality import ClassQuality, class_draws, enough_resamples
from thrifty.measure.statistics import Interval, bootstrap_interval, mean_interval

_Z = 1.959963984540054
_RESAMPLES = 2000


@dataclass(frozen=True)
class PairedDifference:
    """The second model's score minus the first's, in the metric's unit."""

    difference: Interval
    p_value: float | None
    """Of the test beside the interval; None where the interval is all there is."""
    test: str

    @property
    def differs(self) -> bool:
        """Whether the interval excludes 0, and the test, where there is one, agrees."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return False
        return (low > 0 or high < 0) and (self.p_value is None or self.p_value < 0.05)


def accuracy_difference(first: np.ndarray, second: np.ndarray) -> PairedDifference:
    """Of two models' right (1) and wrong (0) answers to the same examples: McNemar's exact test, Agresti and Min's interval.

    Source: McNemar, Psychometrika 12, 1947; Agresti and Min, Statistics in Medicine 24, 2005 (half an example more in each of
    the four cells: the plain interval covers too little where few examples differ).
    """
    n = len(first)
    only_first, only_second = int(((first > 0.5) & (second < 0.5)).sum()), int(((first < 0.5) & (second > 0.5)).sum())
    discordant = only_first + only_second
    p_value = 1.0 if discordant == 0 else float(stats.binomtest(only_first, discordant, 0.5).pvalue)
    gained, lost, total = only_second + 0.5, only_first + 0.5, n + 2
    centre = (gained - lost) / total
    half = _Z * math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2 / total)) / total
    value = (only_second - only_first) / n
    interval = Interval(value, max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half)), n)
    return PairedDifference(interval, p_value, "McNemar's exact test")


def mean_difference(first: np.ndarray, second: np.ndarray) -> PairedDifference:
    """Of the mean of a score, such as the loss, over the same examples: Student's t on the differences."""
    return PairedDifference(mean_interval(np.asarray(second, np.float64) - np.asarray(first, np.float64)), None, "paired t")


def statistic_difference(
    statistic: Callable[[np.ndarray], float], first: np.ndarray, second: np.ndarray, resamples: int = _RESAMPLES
) -> PairedDifference:
    """Of any statistic of examples, by drawing the same examples for both.

    Args:
        statistic: of an array shaped (examples, columns).
        first: one row an example; `second` likewise, in the same order.
    """
    width = first.shape[1]
    joined = np.concatenate([first, second], axis=1)
    found = bootstrap_interval(lambda drawn: statistic(drawn[:, width:]) - statistic(drawn[:, :width]), joined, resamples)
    return PairedDifference(found, None, "bootstrap over examples")


def class_difference(
    metric: str, first: np.ndarray, second: np.ndarray, truth: np.ndarray, resamples: int | None = None
) -> PairedDifference | None:
    """Of f1_macro, worst_class_accuracy, auroc or calibration_error, by drawing the same examples for both.

    None where the examples do not tell the metric. The interval holds both the percentiles of the draws and these reflected at
    the difference: either alone claims a difference of two equal models in up to 15 of 100 samples of a hundred examples, the
    one of f1_macro, where the answers differ in few, the other of calibration_error.

    Args:
        first: the first model's probabilities, shaped (examples, classes); `second` likewise.
        truth: the class number of each example.
        resamples: None makes as many as `class_intervals` does.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    models = [ClassQuality(first, truth), ClassQuality(second, truth)]
    values = [model.point().get(metric) for model in models]
    if values[0] is None or values[1] is None:
        return None
    drawn = [one[metric] for one in class_draws(models, resamples or enough_resamples(*first.shape))]
    found, difference = drawn[1] - drawn[0], values[1] - values[0]
    low, high = (float(one) for one in np.nanquantile(found, [0.025, 0.975]))
    interval = Interval(difference, min(low, 2 * difference - high), max(high, 2 * difference - low), len(truth))
    return PairedDifference(interval, None, "bootstrap over examples")
