"""Metrics of loading against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from thrifty.execution.lean import LeanFailed, LeanMeasurement, Phase
from thrifty.methods.loading import compile_metrics, loading_metrics
from thrifty.metrics import METRICS


def phase(peak: float | None, device: float | None = None, reason: str | None = None) -> Phase:
    on_device = None if device is None else {"allocated_mib": device, "reserved_mib": 2 * device, "process_mib": None}
    return Phase(peak, reason, 40.0, 60.0, on_device)


def measurement(load_s: float, *phases: Phase) -> LeanMeasurement:
    loading, first, steady = phases or (phase(100), phase(130), phase(120))
    return LeanMeasurement(0.02, 1.2, load_s, 0.5, 5, 90.0, loading, first, steady, 1, {})


def test_one_process_gives_values_without_intervals() -> None:
    found = loading_metrics([measurement(0.25)])
    assert {name: one["value"] for name, one in found.items()} == {
        "infer/load_s": 0.25,
        "infer/first_call_s": 0.5,
        "infer/peak_host_mib": 130,
        "infer/anonymous_mib": 40,
        "infer/mapped_mib": 60,
        "infer/peak_device_mib": None,
    }
    assert found["infer/load_s"] == {"value": 0.25, "low": None, "high": None, "n": 1}
    assert found["infer/peak_device_mib"]["reason"] == "the run was on the CPU"
    assert set(found) <= set(METRICS)


def test_three_processes_give_a_t_interval() -> None:
    load = loading_metrics([measurement(one) for one in (1.0, 2.0, 3.0)])["infer/load_s"]
    half = 4.302652729911275 / 3**0.5  # Student's t for two degrees of freedom, deviation 1
    assert load["value"] == 2
    assert load["n"] == 3
    assert (load["low"], load["high"]) == (pytest.approx(2 - half), pytest.approx(2 + half))


def test_compiling_is_what_the_first_call_takes_beyond_a_later_one() -> None:
    cold, warm = (replace(measurement(1.0), first_call_s=first, call_s=0.5) for first in (20.5, 3.5))
    found = compile_metrics(cold, [warm, replace(warm, first_call_s=4.5)])
    assert found["infer/compile_cold_s"] == {"value": 20.0, "low": None, "high": None, "n": 1}
    assert (found["infer/compile_warm_s"]["value"], found["infer/compile_warm_s"]["n"]) == (3.5, 2)
    assert set(found) <= set(METRICS)
    failed = LeanFailed("killed", "it gave no answer")
    assert compile_metrics(failed, [failed]) == {name: {"value": None, "reason": "killed: it gave no answer"} for name in found}


def test_the_device_s_peak_is_that_of_the_dearest_phase() -> None:
    found = loading_metrics([measurement(1.0, phase(1, 10), phase(1, 30), phase(1, 20))])
    assert found["infer/peak_device_mib"]["value"] == 30


def test_one_that_failed_makes_all_missing() -> None:
    found = loading_metrics([measurement(1.0), LeanFailed("oom", "died of SIGKILL")])
    assert len(found) == 6
    assert all(one == {"value": None, "reason": "oom: died of SIGKILL"} for one in found.values())


def test_what_the_system_does_not_tell_is_missing_with_the_reason() -> None:
    whole = measurement(1.0)
    without = replace(whole, steady=replace(whole.steady, anonymous_mib=None, mapped_mib=None))
    assert loading_metrics([without])["infer/anonymous_mib"] == {"value": None, "reason": "the system does not tell"}
    since_start = replace(whole, first_call=phase(500, reason="it cannot be reset here"))
    assert loading_metrics([since_start])["infer/peak_host_mib"] == {"value": None, "reason": "it cannot be reset here"}
    silent = replace(whole, first_call=phase(None))
    assert loading_metrics([silent])["infer/peak_host_mib"] == {"value": None, "reason": "the system does not tell"}
