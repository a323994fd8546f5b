"""Every metric, declared once: what it means, in which unit, and which way is better."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from thrifty.errors import BadConfiguration, nearest


@dataclass(frozen=True)
class Metric:
    """One measured quantity."""

    name: str
    unit: str
    better: str
    """`lower`, `higher`, or empty where neither is."""
    meaning: str
    fraction: bool = False
    """Lies in 0..1, so that a quality point is a hundredth of it; of others a point is a percent."""
    split: str = ""
    """Which examples it is of, where it is of one split's."""


_LOWER, _HIGHER = "lower", "higher"
TARGET_UNIT = "target's unit"

_QUALITIES = (
    Metric("loss", "", _LOWER, "mean loss: cross-entropy in nats, or half the squared standardised error"),
    Metric("accuracy", "", _HIGHER, "share of examples classified right", fraction=True),
    Metric("f1_macro", "", _HIGHER, "mean over classes of F1, which weighs precision and recall alike", fraction=True),
    Metric("worst_class_accuracy", "", _HIGHER, "share classified right of the class that fares worst", fraction=True),
    Metric("auroc", "", _HIGHER, "share of pairs, in the class and not, that are ranked right", fraction=True),
    Metric("calibration_error", "", _LOWER, "mean distance of confidence from accuracy, in 15 bins", fraction=True),
    Metric("bits_per_byte", "bits", _LOWER, "mean bits to encode a byte of the text"),
    Metric("r2", "", _HIGHER, "share of the target's variance explained", fraction=True),
    Metric("rmse", TARGET_UNIT, _LOWER, "root of the mean squared error, in the target's unit"),
    Metric("mae", TARGET_UNIT, _LOWER, "mean absolute error, in the target's unit"),
)

_OTHERS = (
    Metric("quality/gap", "", "", "deciding metric on training data minus the same on validation"),
    Metric("train/step_ms", "ms", _LOWER, "mean time of an optimiser step, the first left out"),
    Metric("train/samples_per_s", "1/s", _HIGHER, "training examples a second, the first step left out"),
    Metric("train/first_step_s", "s", _LOWER, "time of the first optimiser step"),
    Metric("train/time_s", "s", _LOWER, "time of all optimiser steps, validation not counted"),
    Metric("train/time_to_target_s", "s", _LOWER, "training time until validation first met `target`"),
    Metric("train/steps", "", "", "optimiser steps made"),
    Metric("train/data_wait_pct", "%", _LOWER, "share of training time spent getting batches"),
    Metric("train/peak_host_mib", "MiB", _LOWER, "peak resident memory of the process while training, libraries included"),
    Metric("train/peak_device_mib", "MiB", _LOWER, "peak memory the accelerator's allocator gave out while training"),
    Metric("train/flops", "FLOP", _LOWER, "floating-point operations of all optimiser steps, counted from the model"),
    Metric("train/mfu_pct", "%", _HIGHER, "rate of those operations, of the matrix-product rate measured in the run"),
    Metric("train/energy_j", "J", _LOWER, "energy of training by a hardware counter, of the whole processor or GPU"),
    Metric("train/written_mib", "MiB", _LOWER, "bytes of the files the run leaves behind, wandb's not counted"),
    Metric("train/checkpoints_mib", "MiB", _LOWER, "bytes of all checkpoints written while training, gone at its end"),
    Metric("infer/latency_ms", "ms", _LOWER, "median time of a prediction for one example"),
    Metric("infer/latency_p90_ms", "ms", _LOWER, "90th percentile of the same (needs 64 samples)"),
    Metric("infer/latency_p99_ms", "ms", _LOWER, "99th percentile of the same (needs 662 samples)"),
    Metric("infer/samples_per_s", "1/s", _HIGHER, "predictions a second at the run's batch size"),
    Metric("infer/prefill_ms", "ms", _LOWER, "median time to read a prompt of half the context"),
    Metric("infer/decode_ms", "ms", _LOWER, "mean time of a token with the cache, over the context's second half"),
    Metric("infer/tokens_per_s", "1/s", _HIGHER, "such tokens a second, of one sequence"),
    Metric("infer/first_call_s", "s", _LOWER, "time of the first prediction of a fresh process after loading"),
    Metric("infer/compile_cold_s", "s", _LOWER, "of it, spent compiling where nothing was compiled before"),
    Metric("infer/compile_warm_s", "s", _LOWER, "the same where another process has compiled the model before"),
    Metric("infer/prepare_s", "s", _LOWER, "time to export the model for the engine and open it, once a run"),
    Metric("infer/max_error", "", _LOWER, "largest difference of an output from engine=eager"),
    Metric("infer/relative_error", "", _LOWER, "root mean square of the same, over that of the outputs"),
    Metric("infer/load_s", "s", _LOWER, "time to read, check and build the model from files, in a fresh process"),
    Metric("infer/peak_host_mib", "MiB", _LOWER, "peak resident memory of a fresh process that loads and predicts"),
    Metric("infer/anonymous_mib", "MiB", _LOWER, "of its memory after many predictions, what it wrote itself"),
    Metric("infer/mapped_mib", "MiB", _LOWER, "of the same, what is mapped from files: libraries, weights"),
    Metric("infer/peak_device_mib", "MiB", _LOWER, "peak memory the accelerator's allocator gave it"),
    Metric("infer/flops_per_sample", "FLOP", _LOWER, "floating-point operations of one prediction"),
    Metric("infer/nonzero_flops_per_sample", "FLOP", _LOWER, "of them, those with a weight that is not zero"),
    Metric("infer/energy_j_per_sample", "J", _LOWER, "energy of a prediction at the run's batch size, likewise"),
    Metric("size/parameters", "", _LOWER, "parameters, shared ones counted once"),
    Metric("size/nonzero", "", _LOWER, "parameters that are not zero"),
    Metric("size/converted_modules", "", _HIGHER, "layers that were quantised"),
    Metric("size/file_mib", "MiB", _LOWER, "bytes of the weights file"),
    Metric("size/file_zstd_mib", "MiB", _LOWER, "the same file, compressed by zstd"),
    Metric("size/file_sparse_mib", "MiB", _LOWER, "the weights as a bitmask and the values that are not zero"),
    Metric("size/engine_file_mib", "MiB", _LOWER, "bytes of the file that an engine runs"),
    Metric("size/memory_mib", "MiB", _LOWER, "bytes of the weights in memory"),
    Metric("compress/sparsity", "", "", "share of the weights open to the pruner that are gone"),
    Metric("compress/time_s", "s", _LOWER, "time of compressing and of fine-tuning, the dense training not counted"),
    Metric("compress/break_even", "", _LOWER, "predictions, one at a time, whose saving pays for the time of compressing"),
    Metric("compress/flops", "FLOP", _LOWER, "floating-point operations of the same"),
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(
            replace(one, name=f"{room}/{one.name}", split=split)
            for room, split in (("validation", "validation"), ("quality", "test"))
            for one in _QUALITIES
        ),
        *_OTHERS,
    )
}

_BATCH = re.compile(r"infer/batch_([1-9]\d*)/(latency_ms|samples_per_s)")
_OF_BATCHES = {
    "latency_ms": Metric("", "ms", _LOWER, "median time of a prediction for {} examples at once"),
    "samples_per_s": Metric("", "1/s", _HIGHER, "predictions a second at a batch size of {}"),
}
"""Declared once for every batch size of `measure.batch_sizes`."""

CURVES: dict[str, Metric] = {
    curve.name: curve
    for curve in (
        Metric("train/loss", "", _LOWER, "mean loss of the steps since the row before, penalties left out"),
        Metric("train/lr", "", "", "learning rate of the step"),
        Metric("train/seconds", "s", _LOWER, "training time so far, validation not counted"),
        *(one for one in METRICS.values() if one.split == "validation"),
    )
}
"""What the history and the curves in wandb hold at a step; METRICS are the record's, one value a run."""


def batch_metric(batch_size: int, of: str) -> str:
    """The name of a metric at a batch size; `of` is latency_ms or samples_per_s."""
    return f"infer/batch_{batch_size}/{of}"


def declared(name: str) -> Metric | None:
    """The declaration of a metric, or None where there is none."""
    found = _BATCH.fullmatch(name)
    if found is None:
        return METRICS.get(name)
    family = _OF_BATCHES[found[2]]
    return replace(family, name=name, meaning=family.meaning.format(found[1]))


def metric(name: str) -> Metric:
    """The declaration of a metric.

    Raises:
        BadConfiguration: no such metric; names the nearest.
    """
    found = declared(name)
    if found is None:
        raise BadConfiguration(f"{name}: there is no such metric{nearest(name, METRICS)}")
    return found


def improves(name: str, value: float, than: float) -> bool:
    """Whether `value` of a metric is strictly better than another."""
    return value > than if metric(name).better == _HIGHER else value < than


def measured(value: float, low: float | None = None, high: float | None = None, n: int = 1) -> dict[str, Any]:
    """A metric's entry in the record; what came out as no number is missing, with that as the reason."""
    if not math.isfinite(value):
        return missing(f"came out as {value}")
    low, high = (one if one is not None and math.isfinite(one) else None for one in (low, high))
    return {"value": value, "low": low, "high": high, "n": n}


def missing(reason: str) -> dict[str, Any]:
    """The entry of a metric that could not be measured."""
    return {"value": None, "reason": reason}
