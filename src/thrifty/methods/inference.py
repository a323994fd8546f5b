"""Speed of a trained model, read back from its files as a user's program would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from thrifty.architectures.cache import Decoder
from thrifty.measure.ceiling import matmul_flops_per_s
from thrifty.measure.energy import EnergyMeter, energy_entry
from thrifty.measure.flops import forward_flops, training_flops
from thrifty.measure.statistics import median_interval
from thrifty.measure.timing import percentile_ms, time_calls
from thrifty.methods.arithmetic import compute_metrics, entry
from thrifty.methods.decoding import decoding_metrics
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import architecture_of, build_model, load_trained
from thrifty.metrics import measured
from thrifty.tasks.base import Data


def inference_metrics(
    directory: Path,
    data: Data,
    device: torch.device,
    batch_size: int,
    seconds: float,
    steps: int,
    training_seconds: float,
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Latency at batch 1, throughput, FLOPs and MFU; returns the metrics, the raw samples and flags."""
    trained = load_trained(directory, device)
    found: dict[str, Any] = {}
    predict = predictor(trained.module, trained.precision, device)
    one, _ = data.batch("test", torch.zeros(1, dtype=torch.int64))
    latency = time_calls(lambda: predict(one), device, seconds)
    found["infer/latency_ms"] = entry(median_interval(latency.seconds).scaled(1e3))
    found["infer/latency_p90_ms"] = percentile_ms(latency.single, 90)
    found["infer/latency_p99_ms"] = percentile_ms(latency.single, 99)
    size = min(batch_size, data.most_at_once)
    many, _ = data.batch("test", torch.arange(size))
    calls = 0
    decoding_samples: dict[str, Any] = {}
    if isinstance(trained.module, Decoder):
        decoding, decoding_samples = decoding_metrics(trained.module, trained.precision, one, device, seconds / 2)
        found |= decoding

    def predict_many() -> None:
        nonlocal calls
        calls += 1
        predict(many)

    with EnergyMeter(device) as energy:
        batches = time_calls(predict_many, device, seconds)
    found["infer/energy_j_per_sample"] = energy_entry(energy, calls * size)
    middle = median_interval(batches.seconds)
    found["infer/samples_per_s"] = measured(
        size / middle.value,
        None if middle.high is None else size / middle.high,
        None if middle.low is None else size / middle.low,
        middle.n,
    )

    def on_meta() -> torch.nn.Module:
        return build_model(architecture_of(trained.manifest), data.shape, 0.0)

    found["infer/flops_per_sample"] = measured(forward_flops(on_meta, one))
    ceiling = matmul_flops_per_s(device, trained.precision.matmul_dtype, seconds=min(1.0, seconds / 4))
    found |= compute_metrics(training_flops(on_meta, one), steps * batch_size, training_seconds, ceiling)
    samples = {
        "infer/latency_s": latency.seconds.tolist(),
        "infer/latency_calls": latency.calls,
        "infer/batch_s": {"batch_size": size, "calls": batches.calls, "seconds": batches.seconds.tolist()},
        **decoding_samples,
        "ceiling_flops_per_s": ceiling,
    }
    flags = [] if latency.steady and batches.steady else ["not_steady"]
    return found, samples, flags
