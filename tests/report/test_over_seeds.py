"""Means over seeds, against numbers worked out by hand."""

from __future__ import annotations

import pytest
from example_pruned import lines_of
from example_record import make_record

from thrifty.metrics import measured, missing
from thrifty.report.over_seeds import over_seeds, seeds_table


def runs(optimizer: str, accuracies: list[float]) -> list[dict]:
    return [
        make_record(
            f"optimizer={optimizer}",
            f"seed={seed}",
            metrics={"quality/accuracy": measured(value), "train/time_s": measured(2.0)},
        )
        for seed, value in enumerate(accuracies)
    ]


def test_the_mean_and_students_interval_over_seeds() -> None:
    (group,) = over_seeds(runs("adam", [0.90, 0.92, 0.97]))
    mean = group.mean("quality/accuracy")
    assert mean is not None
    assert mean.value == pytest.approx(0.93)
    # Standard deviation sqrt((0.03^2 + 0.01^2 + 0.04^2) / 2) = 0.036056; t(0.975; 2) = 4.30265; half = t s / sqrt(3).
    assert (mean.low, mean.high) == (pytest.approx(0.93 - 0.089568, abs=1e-5), pytest.approx(0.93 + 0.089568, abs=1e-5))


def test_runs_of_one_seed_count_once_together() -> None:
    twice = make_record("optimizer=adam", "seed=1", metrics={"quality/accuracy": measured(0.8)})
    (group,) = over_seeds([*runs("adam", [0.9, 1.0]), twice])
    mean = group.mean("quality/accuracy")
    assert mean is not None
    assert mean.value == pytest.approx(0.9), "seeds 0 and 1 have 0.9 and 0.9, the latter of two runs"
    assert mean.n == 2


def test_groups_are_by_all_but_the_seed_and_failures_are_left_out() -> None:
    records = [*runs("adam", [0.9, 0.8]), *runs("sgd", [0.7]), make_record("optimizer=adam", "seed=9", status="diverged")]
    first, second = over_seeds(records)
    assert [record["seed"] for record in first.records] == [0, 1]
    assert [record["seed"] for record in second.records] == [0]
    assert second.mean("quality/accuracy") is None


def test_where_no_two_differ_in_the_seed_only_there_is_nothing_to_tell() -> None:
    assert over_seeds([*runs("adam", [0.9]), *runs("sgd", [0.9])]) == []


def test_the_table() -> None:
    records = [*runs("adam", [0.90, 0.92, 0.97]), *runs("sgd", [0.75])]
    records[0]["metrics"]["infer/latency_ms"] = missing("not measured")
    lines = lines_of([seeds_table(over_seeds(records))], 120)
    assert lines[0].split() == ["optimizer", "seeds", "accuracy", "training", "latency"]
    assert lines[1].split()[:6] == ["adam", "3", "93.00", "%", "±", "8.96"]
    assert "2 s ± 0 s" in lines[1]
    assert lines[2].split()[:4] == ["sgd", "1", "75.00", "%"]
