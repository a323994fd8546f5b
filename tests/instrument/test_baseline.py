"""A run against a kept record: arithmetic by hand, and what withholds a claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from thrifty.instrument.baseline import against
from thrifty.instrument.comparison import Finding, Run


def run(latency: float = 2.0, canary: float | None = 0.001, flags: tuple[str, ...] = (), rate: float = 100.0) -> Run:
    looked = {} if canary is None else {"canary_before": {"value": canary}, "canary_after": {"value": canary}}
    metrics = {
        "infer/latency_ms": {"value": latency, "low": latency, "high": latency, "n": 9},
        "infer/samples_per_s": {"value": rate, "low": rate, "high": rate, "n": 9},
        "size/file_mib": {"value": 3.0, "low": None, "high": None, "n": 1},
    }
    record: dict[str, Any] = {"metrics": metrics, "conditions": looked, "flags": list(flags), "data": {}, "config": {}}
    return Run(Path("nowhere"), record)


def latency_of(baseline: Run, other: Run) -> Finding:
    (found,) = against(baseline, other, ["infer/latency_ms"])
    return found


def test_a_machine_half_as_fast_explains_twice_the_time() -> None:
    found = latency_of(run(2.0, 0.001), run(4.0, 0.002))
    assert found.change is not None
    assert found.change.value == pytest.approx(0)
    assert not found.claimed


def test_what_the_machine_does_not_explain_is_claimed() -> None:
    found = latency_of(run(2.0, 0.001), run(3.0, 0.0012))
    assert found.change is not None
    assert found.change.value == pytest.approx(1.5 / 1.2 - 1)
    assert (found.claimed, found.better) == (True, "first")


def test_a_rate_is_scaled_the_other_way() -> None:
    (found,) = against(run(rate=100, canary=0.001), run(rate=50, canary=0.002), ["infer/samples_per_s"])
    assert found.change is not None
    assert found.change.value == pytest.approx(0)


def test_below_ten_percent_nothing_is_claimed_and_the_weakness_is_told() -> None:
    found = latency_of(run(2.0), run(2.18))
    assert not found.claimed
    assert "much weaker than pairs" in found.how
    assert found.resolvable is not None
    assert found.resolvable >= 0.10


def test_the_interval_has_the_scatter_from_run_to_run() -> None:
    """Two runs, 3 % each: 1.96 x sqrt(2) x 0.03 as a log."""
    change = latency_of(run(2.0), run(2.0)).change
    assert change is not None
    assert change.high == pytest.approx(0.0867, abs=1e-3)


def test_bad_conditions_of_either_withhold_the_claim() -> None:
    for pair in ((run(2.0, flags=("throttled",)), run(4.0)), (run(2.0), run(4.0, flags=("throttled",)))):
        found = latency_of(*pair)
        assert not found.claimed
        assert found.verdict == "withheld: throttled"


def test_a_record_without_a_canary_cannot_be_scaled() -> None:
    assert latency_of(run(canary=None), run()).verdict == "not compared"


def test_sizes_are_exact() -> None:
    (found,) = against(run(), run(), ["size/file_mib"])
    assert found.verdict == "the same"
