"""Quality of two runs, paired over the examples of the test split, from the scores that the runs kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from thrifty.measure.paired_metrics import DIFFERENCES, Scores
from thrifty.measure.paired_quality import PairedDifference
from thrifty.store import SAMPLES


def paired(metric: str, records: tuple[dict[str, Any], dict[str, Any]], paths: tuple[Path, Path]) -> PairedDifference | str:
    """The second run's quality minus the first's, or why they cannot be paired.

    Args:
        metric: `quality/NAME`.
        records: of both runs; they must have seen the same data.
        paths: their directories, which hold the scores.
    """
    name = metric.removeprefix("quality/")
    if name not in DIFFERENCES:
        return "is a single number of each run: nothing to pair over"
    if records[0]["data"].get("sha256") != records[1]["data"].get("sha256"):
        return "the runs had other data (the sha256 differ): they answered other examples"
    if _split_of(records[0]) != _split_of(records[1]):
        return "the runs split or cut the data in another way: they answered other examples"
    score, difference = DIFFERENCES[name]
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
        kept = json.loads((path / SAMPLES).read_text()).get("quality/test", {})
    except (OSError, ValueError):
        return {}
    return {name: np.asarray(values, dtype=np.float64) for name, values in kept.items()}
