"""Quality of two runs from the scores they kept, those of an older version among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thrifty.instrument.quality import paired
from thrifty.measure.paired_quality import PairedDifference

RECORD: dict[str, Any] = {
    "config": {"task": {"validation": 0.2, "test": 0.2, "split_seed": 0}, "architecture": {}},
    "data": {"sha256": "0", "examples": {"test": 60}},
}
OF_CLASSES = ("accuracy", "loss", "f1_macro", "worst_class_accuracy", "auroc", "calibration_error")


def kept(folder: Path, name: str, skill: float, n: int = 60, without: tuple[str, ...] = ()) -> Path:
    """A run's directory with the scores of three classes, of a model that knows so much."""
    truth = np.arange(n) % 3
    logits = np.random.default_rng(int(10 * skill)).normal(0, 1, (n, 3)) + skill * np.eye(3)[truth]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = {
        "loss": -np.log(probability[np.arange(n), truth]),
        "correct": (probability.argmax(axis=1) == truth).astype(float),
        "truth": truth.astype(float),
        "probability": probability,
    }
    path = folder / name
    path.mkdir()
    told = {key: one.tolist() for key, one in scores.items() if key not in without}
    (path / "samples.json").write_text(json.dumps({"quality/test": told}))
    return path


def differences(first: Path, second: Path) -> dict[str, PairedDifference | str]:
    return {name: paired(f"quality/{name}", (RECORD, RECORD), (first, second)) for name in OF_CLASSES}


def test_every_metric_of_classes_is_paired(tmp_path: Path) -> None:
    found = differences(kept(tmp_path, "worse", 0.5), kept(tmp_path, "better", 3.0))
    for name, one in found.items():
        assert isinstance(one, PairedDifference), name
        assert one.difference.n == 60
        if name != "calibration_error":
            assert one.differs, name
            assert (one.difference.value > 0) == (name != "loss"), name


def test_runs_that_looked_at_more_or_fewer_examples_share_the_first(tmp_path: Path) -> None:
    first, second = kept(tmp_path, "few", 1.0, n=45), kept(tmp_path, "many", 1.0, n=60)
    for one in differences(first, second).values():
        assert isinstance(one, PairedDifference)
        assert one.difference.n == 45


@pytest.mark.parametrize("old_first", [True, False])
def test_a_run_that_kept_no_probabilities_compares_by_what_it_kept(tmp_path: Path, old_first: bool) -> None:
    old = kept(tmp_path, "old", 0.5, without=("truth", "probability"))
    new = kept(tmp_path, "new", 3.0)
    found = differences(*((old, new) if old_first else (new, old)))
    for name in ("accuracy", "loss"):
        one = found[name]
        assert isinstance(one, PairedDifference)
        assert one.differs
    assert {found[name] for name in OF_CLASSES[2:]} == {"a run kept no scores of its examples that tell it ('probability')"}


def test_what_the_examples_do_not_tell_is_said(tmp_path: Path) -> None:
    first, second = kept(tmp_path, "one", 1.0, n=1), kept(tmp_path, "other", 2.0, n=1)
    assert differences(first, second)["auroc"] == "the examples do not tell it"
