"""How good answers that are classes are, beyond the share of right ones; for many weightings of the same examples at once.

A resample of a bootstrap is a weight for each example: how often it was drawn. Everything here is a function of weighted
counts, so that a thousand resamples are one product of a sparse matrix and a dense one, and none of them sorts anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from thrifty.measure.statistics import Interval

METRICS = ("f1_macro", "worst_class_accuracy", "auroc", "calibration_error")
BINS = 15
MOST_RANKED_CLASSES = 100
"""Of more classes there is no auroc: each costs a sort of the examples, and thousands would take longer than training."""
MOST_STEPS = 256
"""Places that a resample's ranking tells apart; a longer one is cut into so many."""
# Additions that a bootstrap may take, about a third of a second of them; and the numbers that are in memory at once.
_ADDITIONS, _FEWEST_RESAMPLES, _MOST_RESAMPLES = 250_000_000, 200, 1000
_AT_ONCE = 4_000_000
_BIASED = ("worst_class_accuracy", "calibration_error")
"""A least share and a sum of distances: chance moves them one way, in a resample as far again as in the sample. Percentiles
would lie beside the truth (of ten classes they held it in 1 of 100 samples); reflected at the estimate they hold it in 90.

Source: Davison and Hinkley, Bootstrap methods and their application, 1997 (the basic bootstrap)."""


class ClassQuality:
    """Examples answered, ready to be weighted.

    f1_macro is the mean of 2 hits / (examples + answers) over the classes that have either; worst_class_accuracy the least
    share of right answers among the classes that have examples; auroc the share of pairs, one of the class and one of another,
    that its probability puts in order, ties counted half, as a mean over the classes that have both (of two classes: the
    second's). calibration_error is the mean distance of confidence and share of right answers over bins of confidence, weighted
    by their examples; a confidence of exactly 1 has a bin of its own, as torchmetrics has it.

    Source of the last: Guo et al., On calibration of modern neural networks, 2017.

    Args:
        probability: shaped (examples, classes); an example's answer is its most probable class, of equals the first.
        truth: the class number of each example.
    """

    def __init__(self, probability: np.ndarray, truth: np.ndarray) -> None:
        self.n, self.classes = probability.shape
        truth = truth.astype(np.int64)
        answer, confidence = probability.argmax(axis=1), probability.max(axis=1)
        right = answer == truth
        edges = np.linspace(0, 1, BINS + 1, dtype=probability.dtype)
        self._counted = np.where(right, truth, truth + self.classes)
        """Of each example: its class, plus the number of classes where the answer is wrong."""
        self._answer, self._bin = answer, np.searchsorted(edges, confidence, side="right") - 1
        self._confidence = confidence.astype(np.float64)
        self._excess = right - self._confidence
        ranked = range(1, 2) if self.classes == 2 else range(self.classes if self.classes <= MOST_RANKED_CLASSES else 0)
        self._positive = [truth == one for one in ranked]
        self._order = [np.argsort(probability[:, one]) for one in ranked]
        self._ranked = [probability[order, one] for order, one in zip(self._order, ranked, strict=True)]

    def point(self) -> dict[str, float]:
        """The metrics of the examples as they are, those that can be told."""
        hits = np.bincount(self._counted, minlength=2 * self.classes).reshape(2, self.classes, 1)
        answers = np.bincount(self._answer, minlength=self.classes)[:, None]
        bins = np.bincount(self._bin, self._excess, minlength=BINS + 1)[:, None]
        found = _of_counts(hits[0], hits[1], answers, bins)
        areas = [
            _area(*_counts(_places(ranked), positive[order]))
            for order, ranked, positive in zip(self._order, self._ranked, self._positive, strict=True)
        ]
        if areas:
            found["auroc"] = _mean_of_some(np.stack(areas))
        return {name: float(one[0]) for name, one in found.items() if np.isfinite(one[0])}

    def error_if_calibrated(self, draws: int, seed: int = 0) -> float:
        """What calibration_error stays below 95 times of 100 where the confidences are the true chances.

        Source: Bröcker and Smith, Weather and Forecasting 22, 2007; here each bin's sum is taken as normal.
        """
        spread = np.sqrt(np.bincount(self._bin, self._confidence * (1 - self._confidence), minlength=BINS + 1))
        sums = np.random.default_rng(seed).normal(size=(draws, BINS + 1)) * spread
        return float(np.quantile(np.abs(sums).sum(axis=1) / self.n, 0.95))

    def prepare(self) -> Weighted:
        """What finds the metrics under weights."""
        rows, steps = [self._counted, self._answer + 2 * self.classes, self._bin + 3 * self.classes], 0
        places = []
        for order, ranked, positive in zip(self._order, self._ranked, self._positive, strict=True):
            place = np.empty(self.n, dtype=np.int64)
            place[order] = _cut(_places(ranked), positive[order], MOST_STEPS)
            places.append(place)
            steps = max(steps, int(place.max()) + 1)
        first = 3 * self.classes + BINS + 1
        for number, (place, positive) in enumerate(zip(places, self._positive, strict=True)):
            rows.append(place + first + steps * (2 * number + positive))
        amounts = np.ones((self.n, len(rows)), dtype=np.float32)
        amounts[:, 2] = self._excess
        return Weighted(np.stack(rows, axis=1), amounts, self.classes, steps, first + 2 * steps * len(places))


class Weighted:
    """The metrics of `ClassQuality` under weights, in single precision.

    Args:
        rows: shaped (examples, sums that an example is part of), which ones; `amounts` likewise, how much it adds.
    """

    def __init__(self, rows: np.ndarray, amounts: np.ndarray, classes: int, steps: int, count: int) -> None:
        n, each = rows.shape
        self.classes, self.steps, self.count = classes, steps, count
        self._sums = sparse.csc_array((amounts.ravel(), rows.ravel(), np.arange(0, n * each + 1, each)), shape=(count, n))

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric under each weighting; not-a-number where it cannot be told.

        Args:
            weights: float32, shaped (examples, weightings), at least 0.
        """
        sums, classes = self._sums @ weights, self.classes
        hits, misses, answers = sums[: 3 * classes].reshape(3, classes, -1)
        first = 3 * classes + BINS + 1
        found = _of_counts(hits, misses, answers, sums[3 * classes : first])
        if self.steps:
            sides = sums[first:].reshape(-1, 2, self.steps, weights.shape[1]).astype(np.float64)
            found["auroc"] = _mean_of_some(_area(sides[:, 0], sides[:, 1]))
        return found


def class_intervals(
    probability: np.ndarray, truth: np.ndarray, resamples: int | None = None, seed: int = 0
) -> dict[str, Interval]:
    """f1_macro, worst_class_accuracy, auroc and calibration_error, those that can be told, with 95% bootstrap intervals.

    None can where a probability is no number; auroc cannot where the examples are all of one class, nor of very many classes.
    There is no interval at 0 or 1, where resamples cannot differ and so do not tell how far off the estimate may be.

    Args:
        resamples: None makes 1000, fewer of many examples and classes, whose intervals need no more; 0 makes no interval.
    """
    n = len(truth)
    if not np.isfinite(probability).all():
        return {}
    quality = ClassQuality(probability, truth)
    points = quality.point()
    if resamples is None:
        resamples = enough_resamples(*probability.shape)
    if n < 2 or not resamples:
        return {name: Interval(value, n=n) for name, value in points.items()}
    (drawn,) = class_draws([quality], resamples, seed)
    found = {name: _interval(name, value, drawn[name], n) for name, value in points.items()}
    if found["calibration_error"].low and points["calibration_error"] <= quality.error_if_calibrated(resamples, seed):
        found["calibration_error"] = replace(found["calibration_error"], low=0.0)
    return found


def untold(probability: np.ndarray, truth: np.ndarray) -> dict[str, str]:
    """Of those that `class_intervals` leaves out, why."""
    if not np.isfinite(probability).all():
        return dict.fromkeys(METRICS, "a probability is infinite or not a number")
    classes = probability.shape[1]
    if len(np.unique(truth)) < 2:
        return {"auroc": f"the {len(truth)} examples are all of one class, and it compares classes"}
    if classes > MOST_RANKED_CLASSES:
        return {"auroc": f"of {classes} classes it would take longer than training; it is made of up to {MOST_RANKED_CLASSES}"}
    return {}


def enough_resamples(n: int, classes: int) -> int:
    """How many a bootstrap gets within a third of a second or so, between 200 and 1000."""
    return max(_FEWEST_RESAMPLES, min(_MOST_RESAMPLES, _ADDITIONS // (n * (min(classes, MOST_RANKED_CLASSES) + 10))))


def class_draws(models: Sequence[ClassQuality], resamples: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """The metrics of each model's answers to the same resamples of examples, one number a resample."""
    n = models[0].n
    ready, whole = [model.prepare() for model in models], np.ones((n, 1), dtype=np.float32)
    # Ties that a ranking cut into steps has more move every resample's auroc alike: by a known difference, which is taken off.
    shifts = [
        {name: value - one(whole)[name][0] for name, value in model.point().items()}
        for model, one in zip(models, ready, strict=True)
    ]
    at_once = max(1, min(64, _AT_ONCE // max(n, *(one.count for one in ready))))
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in ready]
    for weights in _weights(n, resamples, at_once, seed):
        for one, found in zip(ready, parts, strict=True):
            found.append(one(weights))
    return [
        {name: np.clip(np.concatenate([part[name] for part in found]) + shift, 0, 1) for name, shift in moved.items()}
        for found, moved in zip(parts, shifts, strict=True)
    ]


def _weights(n: int, resamples: int, at_once: int, seed: int) -> Iterator[np.ndarray]:
    """How often each example was drawn, float32 shaped (n, up to at_once), until there were all resamples.

    Each is Poisson of mean 1 by itself: of ratios of sums, which all our metrics are, the distribution is that of drawing n
    with replacement. Source: Hanley and MacGibbon, Computer Methods and Programs in Biomedicine 83, 2006.
    """
    generator = np.random.default_rng(seed)
    below = np.cumsum([math.exp(-1) / math.factorial(times) for times in range(10)])
    times = np.searchsorted(below, (np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
    for begin in range(0, resamples, at_once):
        yield times[generator.integers(0, 2**16, (n, min(at_once, resamples - begin)), dtype=np.uint16)]


def _interval(name: str, value: float, draws: np.ndarray, n: int) -> Interval:
    """Percentiles of the draws, or for `_BIASED` these reflected at the estimate; the estimate itself is always inside."""
    finite = draws[np.isfinite(draws)]
    if value in (0, 1) or len(finite) < len(draws) / 2:
        return Interval(value, n=n)
    low, high = (float(one) for one in np.quantile(finite, [0.025, 0.975]))
    if name in _BIASED:
        low, high = max(0.0, 2 * value - high), min(1.0, 2 * value - low)
    return Interval(value, min(value, low), max(value, high), n)


def _of_counts(hits: np.ndarray, misses: np.ndarray, answers: np.ndarray, bins: np.ndarray) -> dict[str, np.ndarray]:
    """What needs no ranking; each argument is shaped (classes or bins, weightings)."""
    examples = hits + misses
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "f1_macro": _mean_of_some(2 * hits / (examples + answers)),
            "worst_class_accuracy": np.nan_to_num(hits / examples, nan=np.inf).min(axis=0),
            "calibration_error": np.abs(bins).sum(axis=0) / examples.sum(axis=0),
        }


def _places(ranked: np.ndarray) -> np.ndarray:
    """The place of each of the sorted scores, from 0, equal ones at the same."""
    return np.concatenate([[0], np.cumsum(ranked[1:] != ranked[:-1])])


def _cut(places: np.ndarray, positive: np.ndarray, most: int) -> np.ndarray:
    """The same with at most `most` places, equals still at the same.

    Each has about as large a share of the class and of its rest: the few examples of a rare class, which lie close together,
    are told apart as well as others.
    """
    if places[-1] < most:
        return places
    passed = np.cumsum(np.where(positive, 1 / max(1, positive.sum()), 1 / max(1, (~positive).sum()))) / 2
    before = np.concatenate([[0.0], passed[np.flatnonzero(np.diff(places))]])[places]
    return np.minimum((before * most).astype(np.int64), most - 1)


def _counts(places: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Examples of the rest and of the class at each place, shaped (places, 1)."""
    both = np.bincount(places + (places[-1] + 1) * positive, minlength=2 * (places[-1] + 1)).reshape(2, -1, 1)
    return both[0], both[1]


def _area(negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Share of (positive, negative) pairs in order, not-a-number where there are none; of arrays (..., places, weightings)."""
    below = np.cumsum(negative, axis=-2) - negative / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return (positive * below).sum(axis=-2) / (positive.sum(axis=-2) * negative.sum(axis=-2))


def _mean_of_some(values: np.ndarray) -> np.ndarray:
    """Over the first dimension, of those that are numbers."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
