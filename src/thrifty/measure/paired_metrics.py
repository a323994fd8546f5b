"""From two models' scores on the same examples to the difference of any metric of quality."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from thrifty.measure.paired_quality import (
    PairedDifference,
    accuracy_difference,
    class_difference,
    mean_difference,
    statistic_difference,
)

Scores = dict[str, np.ndarray]


def _of_errors(statistic: Callable[[np.ndarray], float]) -> Callable[[Scores, Scores], PairedDifference]:
    def difference(first: Scores, second: Scores) -> PairedDifference:
        columns = [np.stack([one["error"], one["truth"]], axis=1) for one in (first, second)]
        return statistic_difference(statistic, columns[0], columns[1])

    return difference


def _of_classes(metric: str) -> Callable[[Scores, Scores], PairedDifference | None]:
    return lambda first, second: class_difference(metric, first["probability"], second["probability"], first["truth"])


def _r2(drawn: np.ndarray) -> float:
    truth = drawn[:, 1]
    return 1 - float(np.sum(drawn[:, 0] ** 2) / np.sum((truth - truth.mean()) ** 2))


DIFFERENCES: dict[str, tuple[str, Callable[[Scores, Scores], PairedDifference | None]]] = {
    "accuracy": ("correct", lambda first, second: accuracy_difference(first["correct"], second["correct"])),
    "loss": ("loss", lambda first, second: mean_difference(first["loss"], second["loss"])),
    "bits_per_byte": ("loss", lambda first, second: mean_difference(first["loss"] / math.log(2), second["loss"] / math.log(2))),
    "r2": ("error", _of_errors(_r2)),
    "rmse": ("error", _of_errors(lambda drawn: float(np.sqrt(np.mean(drawn[:, 0] ** 2))))),
    **{name: ("probability", _of_classes(name)) for name in ("f1_macro", "worst_class_accuracy", "auroc", "calibration_error")},
    "mae": ("error", lambda first, second: mean_difference(np.abs(first["error"]), np.abs(second["error"]))),
}
"""Metric, without its split -> the score it is made of, and the second model's minus the first's; None where examples do not tell."""
