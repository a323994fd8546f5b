"""The conditions of a run stand in its record, however it ended."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from thrifty.errors import Diverged
from thrifty.execution.worker import _watched
from thrifty.measure import conditions
from thrifty.measure.statistics import Interval
from thrifty.stop import Stopped

CPU = torch.device("cpu")


@pytest.fixture
def record() -> dict[str, Any]:
    return {"conditions": {}, "flags": []}


def slower_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([Interval(1.0, 0.9, 1.1), Interval(2.0, 1.9, 2.1)])
    monkeypatch.setattr(conditions, "canary", lambda: next(times))


def test_what_was_seen_is_kept_and_flagged_once(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    slower_each_time(monkeypatch)
    record["flags"] = ["canary_drift", "budget_reached"]
    with _watched(record, CPU, canaries=True):
        pass
    assert record["conditions"]["canary_after"]["value"] == 2.0
    assert record["flags"].count("canary_drift") == 1
    assert "budget_reached" in record["flags"]


def test_a_run_that_fails_keeps_its_conditions_and_its_error(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    slower_each_time(monkeypatch)
    with pytest.raises(Diverged, match="the loss"), _watched(record, CPU, canaries=True):
        raise Diverged("the loss became nan")
    assert record["conditions"]["canary_before"]["value"] == 1.0
    assert record["conditions"]["canary_after"] is None


def test_a_run_without_measuring_has_no_canary_and_is_watched(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "canary", lambda: pytest.fail("a canary costs time"))
    with _watched(record, CPU, canaries=False):
        pass
    assert record["conditions"]["seconds"] >= 0
    assert record["conditions"]["canary_before"] is None


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stop_while_a_canary_runs_is_a_stop(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    calm = iter([] if when == "before" else [Interval(1.0)])

    def canary() -> Interval:
        for one in calm:
            return one
        raise Stopped("terminated")

    monkeypatch.setattr(conditions, "canary", canary)
    with pytest.raises(Stopped, match="terminated"), _watched(record, CPU, canaries=True):
        pass
    assert bool(record["conditions"]) == (when == "after")
