"""How long a call takes: warmed up, one timer around the call and nothing else."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from thrifty.measure.device import synchronise
from thrifty.measure.recompilation import graphs_compiled
from thrifty.measure.statistics import median_interval
from thrifty.metrics import measured, missing

NEEDED_SAMPLES = {90: 64, 99: 662}
"""The fewest of which, in 99 of 100 tries, at least two lie above the percentile: one is no percentile but the extreme."""
SAMPLES_A_SECOND = 64
"""The most of which a second of the time allowed is used for: calls so short that more would fit are measured in less time."""
_LOOK_EVERY = 64
"""Samples between looks at whether they suffice: a look costs as much as many a call."""
_LEAST_SECONDS = 0.1
"""Of measuring, however sure the median: what else the machine does comes and goes in tens of milliseconds."""
_KNOWN_SHARE = 0.03
"""Width of the median's interval, as a share, at which more samples would tell nothing new: the same configuration, run again,
differs by 2 to 3 %, and only a comparison tells more."""
_STEADY_SHARE = 0.02
_WINDOWS = 8
"""Of the longest warm-up."""
_WINDOW_CALLS, _WINDOW_SECONDS = 32, 0.02
"""Of a window of short calls, which need not fill its share of the warm-up."""
_MOST_WINDOW_CALLS = 5000
"""However short they are: no clock need move for a window to end."""
_CLOCK_READINGS = 10_000
"""That a sample is as long as: two of them are below a thousandth of it, and so is the loop around the calls."""
_READINGS = 1000


@contextlib.contextmanager
def collector_off() -> Iterator[None]:
    """Within it Python's garbage collector does not run: a collection would be timed with the call it happens to fall into.

    Within another such block it is off already, and nothing is done.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
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
    """Of single calls, for percentiles; the clock's cost is among them where `calls` is more than 1. Empty where not wanted."""
    steady: bool
    """Whether the warm-up reached a steady pace."""
    device_seconds: np.ndarray | None = None
    """The same samples between two events on the CUDA stream; None on other devices."""
    recompiled: bool = False
    """Whether torch.compile made a graph while the samples were taken: some of them are times of compiling."""

    def as_samples(self) -> dict[str, Any]:
        """As samples.json has it."""
        found: dict[str, Any] = {"calls": self.calls, "seconds": self.seconds.tolist()}
        if self.calls > 1 and len(self.single):
            found["single_s"] = self.single.tolist()
        if self.device_seconds is not None:
            found["device_ms"] = (1e3 * self.device_seconds).tolist()
        return found


def time_calls(
    call: Callable[[], object], device: torch.device, seconds: float, least: int = 3, percentiles: bool = True
) -> Timed:
    """Time a call for about `seconds`, after a warm-up until it is steady; at least `least` samples.

    It ends before where the median is known to one and a half percent and there are samples enough for every percentile.

    Args:
        percentiles: whether they are wanted, and single calls with them.
    """
    needed = max(NEEDED_SAMPLES.values())
    with collector_off():
        steady, shortest = warm_up(call, device, seconds / 4, least)
        calls = max(1, math.ceil(_CLOCK_READINGS * clock_seconds() / shortest)) if shortest > 0 else 1
        first_look = needed if percentiles and calls == 1 else _LOOK_EVERY
        most = max(first_look, SAMPLES_A_SECOND * seconds)
        before, begin = graphs_compiled(), time.perf_counter()

        def suffice(taken: list[float], now: float) -> bool:
            if now >= begin + seconds or len(taken) >= most:
                return True
            if len(taken) < first_look or (len(taken) - first_look) % _LOOK_EVERY:
                return False
            return now >= begin + min(seconds, _LEAST_SECONDS) and _known(taken)

        taken, on_device = sample_calls(call, device, least, calls, suffice)
        single = taken if percentiles else np.empty(0)
        if percentiles and calls > 1:
            end = time.perf_counter() + seconds / 4
            single, _ = sample_calls(call, device, least, 1, lambda so_far, now: len(so_far) >= needed or now >= end)
        recompiled = graphs_compiled() != before
    return Timed(taken, calls, single, steady, on_device, recompiled)


def warm_up(call: Callable[[], object], device: torch.device, most_seconds: float, least: int = 3) -> tuple[bool, float]:
    """Call until the median of one window of calls is within 2 % of that of the window before.

    Returns:
        Whether that came to be within `most_seconds`, and the seconds of the shortest call.
    """
    begin = time.perf_counter()
    before, shortest = None, math.inf
    while True:
        opened = time.perf_counter()

        def filled(taken: list[float], now: float, opened: float = opened) -> bool:
            if now >= opened + most_seconds / _WINDOWS or len(taken) >= _MOST_WINDOW_CALLS:
                return True
            return len(taken) >= _WINDOW_CALLS and now >= opened + _WINDOW_SECONDS

        window, _ = sample_calls(call, device, least, 1, filled)
        middle, shortest = float(np.median(window)), min(shortest, float(window.min()))
        if before is not None and abs(middle - before) <= _STEADY_SHARE * before:
            return True, shortest
        if time.perf_counter() >= begin + most_seconds:
            return False, shortest
        before = middle


def sample_calls(
    call: Callable[[], object], device: torch.device, least: int, calls: int, suffice: Callable[[list[float], float], bool]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Seconds of a call in samples of `calls`, by the clock and by the device, until they `suffice`."""
    taken: list[float] = []
    events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    on_cuda = device.type == "cuda"
    while len(taken) < least or not suffice(taken, time.perf_counter()):
        if on_cuda:
            events.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
        begin = time.perf_counter()
        if on_cuda:
            events[-1][0].record()
        for _ in range(calls):
            call()
        if on_cuda:
            events[-1][1].record()
        synchronise(device)
        taken.append((time.perf_counter() - begin) / calls)
    by_device = np.array([first.elapsed_time(last) / 1e3 / calls for first, last in events]) if on_cuda else None
    return np.array(taken), by_device


def _known(taken: list[float]) -> bool:
    middle = median_interval(np.array(taken))
    return middle.low is not None and middle.high is not None and middle.high - middle.low <= _KNOWN_SHARE * middle.value


def percentile_ms(samples: np.ndarray, percent: int) -> dict[str, object]:
    """A percentile of seconds, as a metric in ms; missing where there are too few samples to tell it."""
    needed = NEEDED_SAMPLES[percent]
    if len(samples) < needed:
        return missing(f"needs {needed} samples, {len(samples)} were made in the time allowed; measure=full makes more")
    return measured(float(np.percentile(samples, percent)) * 1e3, n=len(samples))
