"""Metrics and curves are declared once, and what runs write holds to it."""

from __future__ import annotations

import csv

import pytest

from conftest import FinishedRun
from thrifty.errors import BadConfiguration
from thrifty.metrics import CURVES, METRICS, batch_metric, improves, measured, metric, missing


@pytest.mark.parametrize("name", {**METRICS, **CURVES})
def test_a_declaration_says_what_it_is(name: str) -> None:
    declared = {**METRICS, **CURVES}[name]
    assert declared.name == name
    assert declared.better in ("lower", "higher", "")
    assert declared.meaning
    assert (
        declared.split == {"quality": "test", "validation": "validation"}.get(name.split("/")[0], "") or name == "quality/gap"
    )


def test_curves_and_the_record_share_the_validation_split_only() -> None:
    assert set(CURVES) & set(METRICS) == {name for name in METRICS if name.startswith("validation/")}


@pytest.mark.parametrize("run", ["tabular_run", "text_run"])
def test_what_a_run_writes_is_declared(run: str, request: pytest.FixtureRequest) -> None:
    finished: FinishedRun = request.getfixturevalue(run)
    assert set(finished.record["metrics"]) <= set(METRICS)
    heading = next(csv.reader((finished.path / "history.csv").read_text().splitlines()))
    assert heading[:2] == ["step", "seconds"]
    assert {"train/loss", "train/lr"} < set(heading)
    assert set(heading[2:]) <= set(CURVES)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_missing(value: float) -> None:
    assert measured(value, 0.0, 1.0, 5) == missing(f"came out as {value}")
    assert measured(1.0, value, value, 5) == {"value": 1.0, "low": None, "high": None, "n": 5}


def test_better_is_strictly_so() -> None:
    assert improves("quality/accuracy", 0.9, 0.8)
    assert improves("quality/loss", 0.8, 0.9)
    assert not improves("quality/loss", 0.8, 0.8)


def test_metrics_of_batch_sizes_are_declared_by_their_pattern() -> None:
    latency, rate = metric(batch_metric(16, "latency_ms")), metric("infer/batch_16/samples_per_s")
    assert (latency.name, latency.unit, latency.better) == ("infer/batch_16/latency_ms", "ms", "lower")
    assert "16 examples" in latency.meaning
    assert (rate.unit, rate.better) == ("1/s", "higher")
    assert improves("infer/batch_16/samples_per_s", 2.0, 1.0)


@pytest.mark.parametrize(
    "name", ["infer/batch_0/latency_ms", "infer/batch_x/latency_ms", "infer/batch_4/load_s", "infer/batch_4"]
)
def test_what_only_looks_like_a_batch_size_s_metric_is_none(name: str) -> None:
    with pytest.raises(BadConfiguration, match="no such metric"):
        metric(name)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadConfiguration, match="did you mean 'quality/accuracy'"):
        metric("quality/acuracy")
