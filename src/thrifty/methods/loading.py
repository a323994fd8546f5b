"""Metrics of loading and of memory, from what lean processes found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from thrifty.execution.lean import LeanFailed, LeanMeasurement
from thrifty.measure.statistics import mean_interval
from thrifty.methods.arithmetic import entry
from thrifty.metrics import missing

_NAMES = ("load_s", "first_call_s", "peak_host_mib", "anonymous_mib", "mapped_mib", "peak_device_mib")


def not_loaded(reason: str) -> dict[str, Any]:
    """The same metrics, all missing."""
    return {f"infer/{name}": missing(reason) for name in _NAMES}


def loading_metrics(found: list[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
    """Means over the processes, with t intervals where there are several; one that failed makes all of them missing."""
    good = [one for one in found if isinstance(one, LeanMeasurement)]
    failed = next((one for one in found if isinstance(one, LeanFailed)), None)
    if failed is not None:
        return not_loaded(f"{failed.status}: {failed.reason}")
    unresettable = next((phase.reason for one in good for phase in one.phases if phase.reason), None)
    untold = "the system does not tell"
    return {
        "infer/load_s": _mean(good, lambda one: one.load_s),
        "infer/first_call_s": _mean(good, lambda one: one.first_call_s),
        "infer/peak_host_mib": missing(unresettable) if unresettable else _mean(good, _peak_host, untold),
        "infer/anonymous_mib": _mean(good, lambda one: one.steady.anonymous_mib, untold),
        "infer/mapped_mib": _mean(good, lambda one: one.steady.mapped_mib, untold),
        "infer/peak_device_mib": _mean(good, _peak_device, "the run was on the CPU"),
    }


def compile_metrics(cold: LeanMeasurement | LeanFailed, warm: list[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
    """How much longer than a later one the first prediction takes, of a process whose cache is empty and of those that found it full."""
    return {"infer/compile_cold_s": _compiling([cold]), "infer/compile_warm_s": _compiling(warm)}


def _compiling(found: list[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
    failed = next((one for one in found if isinstance(one, LeanFailed)), None)
    if failed is not None:
        return missing(f"{failed.status}: {failed.reason}")
    return _mean([one for one in found if isinstance(one, LeanMeasurement)], lambda one: one.first_call_s - one.call_s)


def _peak_host(one: LeanMeasurement) -> float | None:
    peaks = [phase.peak_mib for phase in one.phases]
    return None if None in peaks else max(peak for peak in peaks if peak is not None)


def _peak_device(one: LeanMeasurement) -> float | None:
    peaks = [phase.device["allocated_mib"] for phase in one.phases if phase.device is not None]
    return max((peak for peak in peaks if peak is not None), default=None)


def _mean(good: list[LeanMeasurement], of: Callable[[LeanMeasurement], float | None], untold: str = "") -> dict[str, Any]:
    values = [value for value in map(of, good) if value is not None]
    return entry(mean_interval(np.array(values))) if values else missing(untold)
