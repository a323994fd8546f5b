"""How long a call takes: warmed up, one timer around the call and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from thrifty.metrics import measured, missing

NEEDED_SAMPLES = {90: 64, 99: 662}
"""The fewest of which, in 99 of 100 tries, at least two lie above the percentile: one is no percentile but the extreme."""
MOST_SAMPLES = 5000


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def time_calls(call: Callable[[], object], device: torch.device, seconds: float, least: int = 3) -> np.ndarray:
    """Seconds of single calls, made for about `seconds` after a tenth of that as warm-up; at least `least` of each."""
    samples: list[float] = []
    for length in (seconds / 10, seconds):
        samples = []
        end = time.perf_counter() + length
        while len(samples) < least or (time.perf_counter() < end and len(samples) < MOST_SAMPLES):
            begin = time.perf_counter()
            call()
            synchronise(device)
            samples.append(time.perf_counter() - begin)
    return np.array(samples)


def percentile_ms(samples: np.ndarray, percent: int) -> dict[str, object]:
    """A percentile of seconds, as a metric in ms; missing where there are too few samples to tell it."""
    needed = NEEDED_SAMPLES[percent]
    if len(samples) < needed:
        return missing(f"needs {needed} samples, {len(samples)} were made in the time allowed; measure=full makes more")
    return measured(float(np.percentile(samples, percent)) * 1e3, n=len(samples))
