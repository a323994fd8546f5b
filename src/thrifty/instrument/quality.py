"""Quality of two runs, paired over the examples of the test split, from the scores that the runs kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


_DIFFERENCES: dict[str, tuple[str, Callable[[Scores, Scores], PairedDifference | None]]] = {
    "accuracy": ("correct", lambda first, second: accuracy_difference(first["correct"], second["correct"])),
    "loss": ("loss", lambda first, second: mean_difference(first["loss"], second["loss"])),
    "bits_per_byte": ("loss", lambda first, second: mean_difference(first["loss"] / math.log(2), second["loss"] / math.log(2))),
    "r2": ("error", _of_errors(_r2)),
    "rmse": ("error", _of_errors(lambda drawn: float(np.sqrt(np.mean(drawn[:, 0] ** 2))))),
    **{name: ("probability", _of_classes(name)) for name in ("f1_macro", "worst_class_accuracy", "auroc", "calibration_error")},
    "mae": ("error", lambda first, second: mean_difference(np.abs(first["error"]), np.abs(second["error"]))),
}
"""Metric -> the score it is made of, and how."""


def paired(metric: str, records: tuple[dict[str, Any], dict[str, Any]], paths: tuple[Path, Path]) -> PairedDifference | str:
    """The second run's quality minus the first's, or why they cannot be paired.

    Args:
        metric: `quality/NAME`.
        records: of both runs; they must have seen the same data.
        paths: their directories, which hold the scores.
    """
    name = metric.removeprefix("quality/")
    if name not in _DIFFERENCES:
        return "is a single number of each run: nothing to pair over"
    if records[0]["data"].get("sha256") != records[1]["data"].get("sha256"):
        return "the runs had other data (the sha256 differ): they answered other examples"
    if _split_of(records[0]) != _split_of(records[1]):
        return "the runs split or cut the data in another way: they answered other examples"
    score, difference = _DIFFERENCES[name]
    found = [_scores(path) for path in paths]
    if not all(score in one for one in found):
        return f"a run kept no scores of its examples that tell it ('{score}')"
    shared = min(len(one[score]) for one in found)  # the first examples of a split are the same ones, however many were asked
    first, second = ({key: one[key][:shared] for key in one} for one in found)
    return difference(first, second) or "the examples do not tell it"


def _split_of(record: dict[str, Any]) -> list[Any]:
    task = record["config"]["task"]
    context = record["config"]["architecture"].get("context")  # decides how a text is cut into examples
    return [*(task.get(key) for key in ("validation", "test", "split_seed", "target")), context, record["data"].get("examples")]


def _scores(path: Path) -> Scores:
    try:
        kept = json.loads((path / "samples.json").read_text()).get("quality/test", {})
    except (OSError, ValueError):
        return {}
    return {name: np.asarray(values, dtype=np.float64) for name, values in kept.items()}
