"""Pairs of lean processes, made up: their arithmetic, their end, and what becomes of one that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from thrifty.execution.lean import LeanFailed, LeanMeasurement, LeanTask, Phase
from thrifty.instrument import lean_pairs
from thrifty.instrument.arms import Run
from thrifty.instrument.lean_pairs import LeanPairs, Untold
from thrifty.instrument.pairs import LEAST_PAIRS, PairFailed, Plan

PHASE = Phase(100.0, None, 40.0, 60.0, None)
MEASUREMENT = LeanMeasurement(0.02, 1.2, 0.1, 0.01, 5, 90.0, PHASE, PHASE, PHASE, 1, {})
RUNS = tuple(Run(Path(name), {"environment": {"threads": 1}, "config_hash": name}) for name in ("first", "second"))
NAMES = ["infer/load_s", "infer/peak_host_mib", "infer/peak_device_mib"]


def heavier(of: LeanMeasurement) -> LeanMeasurement:
    """Half as much memory again."""
    phase = replace(PHASE, peak_mib=150.0)
    return replace(of, loading=phase, first_call=phase, steady=phase)


def made_up(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[str]:
    """Lean processes that answer by the run they are given; returns the order in which they were asked."""
    asked: list[str] = []

    class Process:
        def __init__(self, engine: str | None = None) -> None:
            assert engine is None

        def __enter__(self) -> Self:
            return self

        def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
            pass

        def measure(self, task: LeanTask) -> LeanMeasurement | LeanFailed:
            assert task.config_hash is not None
            asked.append(task.config_hash)
            return answers[task.config_hash]

    monkeypatch.setattr(lean_pairs, "LeanProcess", Process)
    return asked


def pairs(plan: Plan | None = None) -> LeanPairs:
    return LeanPairs((RUNS[0], RUNS[1]), NAMES, plan or Plan())


def test_a_known_difference_is_found_and_all_metrics_are_of_the_same_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch, {"first": MEASUREMENT, "second": heavier(MEASUREMENT)})
    found = pairs()
    memory, load = found.found("infer/peak_host_mib").comparison, found.found("infer/load_s").comparison
    assert memory is not None
    assert load is not None
    assert memory.ratio.value == pytest.approx(1.5)
    assert memory.differs
    assert not load.differs
    assert len(asked) == 2 * LEAST_PAIRS, "narrow at once, and measured once for both metrics"
    assert all({asked[2 * pair], asked[2 * pair + 1]} == {"first", "second"} for pair in range(LEAST_PAIRS))


def test_what_compiles_has_compiled_before_the_pairs_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch, {"first": MEASUREMENT, "second": MEASUREMENT})
    compiled = replace(RUNS[1], record={**RUNS[1].record, "config": {"engine": {"name": "compile", "mode": "default"}}})
    found = LeanPairs((RUNS[0], compiled), NAMES, Plan(most_pairs=2, half_width=0.0)).found("infer/peak_host_mib")
    assert len(found.pairs) == 2
    assert asked[0] == "second"
    assert sorted(asked[1:]) == ["first", "first", "second", "second"]


def test_what_the_system_does_not_tell_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, {"first": MEASUREMENT, "second": MEASUREMENT})
    with pytest.raises(Untold):
        pairs().found("infer/peak_device_mib")


def test_pairs_asked_for_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch, {"first": MEASUREMENT, "second": MEASUREMENT})
    pairs(Plan(most_pairs=3, half_width=0.0)).found("infer/load_s")
    assert len(asked) == 6


def test_one_that_fails_says_which_run_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch, {"first": MEASUREMENT, "second": LeanFailed("oom", "died of SIGKILL")})
    found = pairs()
    for name in NAMES:  # every metric is of the same processes, and so fails with them
        with pytest.raises(PairFailed, match="SIGKILL") as caught:
            found.found(name)
        assert (caught.value.place, caught.value.status) == (1, "oom")
    assert len(asked) <= 2
