"""Metrics of loading and of memory, from what lean processes found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from thrifty.execution.lean import LeanFailed, LeanMeasurement
from thrifty.measure.statistics import mean_interval
from thrifty.methods.arithmetic import entry
from thrifty.metrics import missing


def not_loaded(reason: str) -> dict[str, Any]:
    """The same metrics, all missing."""
    return {name: missing(reason) for name in LEAN}


def loading_metrics(found: Sequence[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
    """Means over the processes, with t intervals where there are several; one that failed makes all of them missing."""
    good = [one for one in found if isinstance(one, LeanMeasurement)]
    failed = next((one for one in found if isinstance(one, LeanFailed)), None)
    if failed is not None:
        return not_loaded(f"{failed.status}: {failed.reason}")
    unresettable = next((phase.reason for one in good for phase in one.phases if phase.reason), None)
    reasons = {"infer/peak_host_mib": unresettable, "infer/peak_device_mib": "the run was on the CPU"}
    return {name: _mean(good, of, reasons.get(name) or "the system does not tell") for name, of in LEAN.items()}


def compile_metrics(cold: LeanMeasurement | LeanFailed, warm: Sequence[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
    """How much longer than a later one the first prediction takes: with an empty cache, and with one that it filled."""
    return {"infer/compile_cold_s": _compiling([cold]), "infer/compile_warm_s": _compiling(warm)}


def _compiling(found: Sequence[LeanMeasurement | LeanFailed]) -> dict[str, Any]:
    failed = next((one for one in found if isinstance(one, LeanFailed)), None)
    if failed is not None:
        return missing(f"{failed.status}: {failed.reason}")
    return _mean([one for one in found if isinstance(one, LeanMeasurement)], lambda one: one.first_call_s - one.call_s, "")


def _peak_host(one: LeanMeasurement) -> float | None:
    """Of all phases; none where one's peak is not its own."""
    peaks = [None if phase.reason else phase.peak_mib for phase in one.phases]
    return None if None in peaks else max(peak for peak in peaks if peak is not None)


def _peak_device(one: LeanMeasurement) -> float | None:
    peaks = [phase.device["allocated_mib"] for phase in one.phases if phase.device is not None]
    return max((peak for peak in peaks if peak is not None), default=None)


def _mean(good: list[LeanMeasurement], of: Callable[[LeanMeasurement], float | None], untold: str) -> dict[str, Any]:
    values = [value for value in map(of, good) if value is not None]
    return entry(mean_interval(np.array(values))) if values else missing(untold)


LEAN: dict[str, Callable[[LeanMeasurement], float | None]] = {
    "infer/load_s": lambda one: one.load_s,
    "infer/first_call_s": lambda one: one.first_call_s,
    "infer/peak_host_mib": _peak_host,
    "infer/anonymous_mib": lambda one: one.steady.anonymous_mib,
    "infer/mapped_mib": lambda one: one.steady.mapped_mib,
    "infer/peak_device_mib": _peak_device,
}
"""Metrics that a lean process tells, and what of its answer each is."""
