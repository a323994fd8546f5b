"""From raw samples to the record's metrics. Pure arithmetic, held to hand-computed numbers by tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from thrifty.measure.statistics import Interval, mean_interval
from thrifty.metrics import METRICS, measured, missing

if TYPE_CHECKING:  # a command line that compares needs no torch of its own
    from torch import nn


def entry(interval: Interval) -> dict[str, Any]:
    """An estimate as it stands in the record."""
    return measured(interval.value, interval.low, interval.high, interval.n)


def training_metrics(
    calls: list[tuple[int, float, float]], batch_size: int, target: float | None, seconds_to_target: float | None
) -> dict[str, Any]:
    """Metrics of training from its calls.

    The first call is left out of step time and rate: it pays for allocations and start-up, and has a metric of its own.

    Args:
        calls: (optimiser steps, seconds, of them seconds of waiting for data) in order; the first has one step.
    """
    steps, seconds = sum(call[0] for call in calls), sum(call[1] for call in calls)
    found: dict[str, Any] = {"train/steps": measured(steps), "train/time_s": measured(seconds)}
    if calls:
        reason = "the run made a single step, which is train/first_step_s"
        found["train/first_step_s"] = measured(calls[0][1] / calls[0][0])
        found["train/data_wait_pct"] = measured(100 * sum(call[2] for call in calls) / seconds)
    else:
        reason = "the run made no step"
        found["train/first_step_s"] = found["train/data_wait_pct"] = missing(reason)
    later = calls[1:]
    if later:
        counts, times = np.array([call[0] for call in later]), np.array([call[1] for call in later])
        step_s = times.sum() / counts.sum()
        # Calls differ in length: the interval is that of their step times, moved onto the mean over all steps.
        spread = mean_interval(times / counts)
        half = None if spread.high is None else spread.high - spread.value
        low, high = (None, None) if half is None else (max(0.0, step_s - half), step_s + half)
        found["train/step_ms"] = measured(
            step_s * 1e3, None if low is None else low * 1e3, None if high is None else high * 1e3, int(counts.sum())
        )
        found["train/samples_per_s"] = measured(
            batch_size / step_s,
            None if high is None else batch_size / high,
            None if not low else batch_size / low,
            int(counts.sum()),
        )
    else:
        found["train/step_ms"] = found["train/samples_per_s"] = missing(reason)
    if target is None:
        found["train/time_to_target_s"] = missing("no target was given; target=VALUE sets one")
    elif seconds_to_target is None:
        found["train/time_to_target_s"] = missing(f"validation never met target={target:g}")
    else:
        found["train/time_to_target_s"] = measured(seconds_to_target)
    return found


def quality_metrics(split: str, summary: dict[str, Interval]) -> dict[str, Any]:
    """A split's summary under the contract's names; `split` is `validation` or `quality`."""
    return {f"{split}/{name}": entry(one) for name, one in summary.items() if f"{split}/{name}" in METRICS}


def size_metrics(model: nn.Module, file_bytes: int) -> dict[str, Any]:
    """How large a model is; tied parameters count once."""
    from thrifty.layers.flat import nonzero
    from thrifty.layers.quantized import weights

    parameters = weights(model)
    return {
        "size/parameters": measured(sum(one.numel() for one in parameters)),
        "size/nonzero": measured(sum(map(nonzero, parameters))),
        "size/file_mib": measured(file_bytes / 2**20),
    }


def compute_metrics(flops_per_example: int, examples: int, seconds: float, ceiling_flops_per_s: float) -> dict[str, Any]:
    """What training computed, and how much of the device's matrix-product rate that was.

    Args:
        flops_per_example: of a forward and a backward pass for one example.
        examples: examples drawn in all steps.
        seconds: training time.
    """
    flops = flops_per_example * examples
    share = measured(100 * flops / seconds / ceiling_flops_per_s) if seconds else missing("the run made no step")
    return {"train/flops": measured(flops), "train/mfu_pct": share}
