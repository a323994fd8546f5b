"""How long a call takes: warmed up, one timer around the call and nothing else."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from thrifty.measure.device import synchronise
from thrifty.measure.statistics import median_interval
from thrifty.metrics import measured, missing

NEEDED_SAMPLES = {90: 64, 99: 662}
"""The fewest of which, in 99 of 100 tries, at least two lie above the percentile: one is no percentile but the extreme."""
MOST_SAMPLES = 5000
_LOOK_EVERY = max(NEEDED_SAMPLES.values())
"""Samples after which to look whether they suffice: enough for every percentile."""
_KNOWN_SHARE = 0.01
"""Width of the median's interval, as a share, at which more samples would tell nothing new."""
_STEADY_SHARE = 0.02
_WINDOWS = 8
"""Of the longest warm-up."""
_CLOCK_READINGS = 2000
"""Two readings for each thousandth: what a sample must be long enough for."""
_READINGS = 1000


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Within it Python's garbage collector does not run: a collection would be timed with the call it happens to fall into."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def clock_seconds() -> float:
    """What one reading of the clock takes, in seconds: the shortest of several means."""
    means = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(_READINGS):
            time.perf_counter()
        means.append((time.perf_counter() - begin) / _READINGS)
    return min(means)


@dataclass(frozen=True)
class Timed:
    """Samples of how long a call takes."""

    seconds: np.ndarray
    """Of a call; where `calls` is more than 1, the mean of so many made in a row between two readings of the clock."""
    calls: int
    """In a sample: as many as keep the clock's own cost below a thousandth of it."""
    single: np.ndarray
    """Of single calls, for percentiles; the clock's cost is among them where `calls` is more than 1."""
    steady: bool
    """Whether the warm-up reached a steady pace."""


def time_calls(call: Callable[[], object], device: torch.device, seconds: float, least: int = 3) -> Timed:
    """Time a call for about `seconds`, after a warm-up until it is steady; at least `least` samples.

    It ends before where the median is known to half a percent and there are samples enough for every percentile.
    """
    with collector_off():
        steady, shortest = warm_up(call, device, seconds / 4, least)
        calls = max(1, math.ceil(_CLOCK_READINGS * clock_seconds() / shortest)) if shortest > 0 else 1
        taken = _samples(call, device, seconds, least, calls)
        single = taken if calls == 1 else _samples(call, device, seconds / 4, least, 1, most=max(NEEDED_SAMPLES.values()))
    return Timed(taken, calls, single, steady)


def warm_up(call: Callable[[], object], device: torch.device, most_seconds: float, least: int = 3) -> tuple[bool, float]:
    """Call until the median of one window of calls is within 2 % of that of the window before.

    Returns:
        Whether that came to be within `most_seconds`, and the seconds of the shortest call.
    """
    end = time.perf_counter() + most_seconds
    before, shortest = None, math.inf
    while True:
        window = _samples(call, device, most_seconds / _WINDOWS, least, 1)
        middle, shortest = float(np.median(window)), min(shortest, float(window.min()))
        if before is not None and abs(middle - before) <= _STEADY_SHARE * before:
            return True, shortest
        if time.perf_counter() >= end:
            return False, shortest
        before = middle


def _samples(
    call: Callable[[], object], device: torch.device, seconds: float, least: int, calls: int, most: int = MOST_SAMPLES
) -> np.ndarray:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < least or (time.perf_counter() < end and len(taken) < most):
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        synchronise(device)
        taken.append((time.perf_counter() - begin) / calls)
        if len(taken) % _LOOK_EVERY == 0 and _known(taken):
            break
    return np.array(taken)


def _known(taken: list[float]) -> bool:
    middle = median_interval(np.array(taken))
    return middle.low is not None and middle.high is not None and middle.high - middle.low <= _KNOWN_SHARE * middle.value


def percentile_ms(samples: np.ndarray, percent: int) -> dict[str, object]:
    """A percentile of seconds, as a metric in ms; missing where there are too few samples to tell it."""
    needed = NEEDED_SAMPLES[percent]
    if len(samples) < needed:
        return missing(f"needs {needed} samples, {len(samples)} were made in the time allowed; measure=full makes more")
    return measured(float(np.percentile(samples, percent)) * 1e3, n=len(samples))
