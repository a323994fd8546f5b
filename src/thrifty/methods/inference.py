"""Speed of a trained model, read back from its files as a user's program would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from thrifty.architectures.cache import Decoder
from thrifty.engines.base import Engine
from thrifty.errors import Unsupported
from thrifty.measure.ceiling import matmul_ceiling
from thrifty.measure.device import synchronise
from thrifty.measure.energy import LEAST_SECONDS, EnergyMeter, energy_entry
from thrifty.measure.flops import forward_flops, training_flops
from thrifty.measure.statistics import Interval, median_interval
from thrifty.measure.timing import Timed, collector_off, percentile_ms, time_calls
from thrifty.methods.agreement import Agreement
from thrifty.methods.arithmetic import compute_metrics, entry
from thrifty.methods.decoder import decoder
from thrifty.methods.decoding import decoding_metrics, not_decoded
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import architecture_of, example_inputs, load_trained, untrained
from thrifty.metrics import batch_metric, measured, missing


@collector_off()
def inference_metrics(
    directory: Path,
    device: torch.device,
    batch_size: int,
    further_batch_sizes: Sequence[int],
    seconds: float,
    examples: int,
    training_seconds: float,
    engine: Engine | None = None,
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Latency at batch 1, throughput, FLOPs and MFU; returns the metrics, the raw samples and flags.

    Inputs are made up from the model's shape, so that models compare whatever data they were trained on.

    Args:
        batch_size: of the throughput.
        further_batch_sizes: at which latency and throughput are told too, or why not.
        seconds: the most for each measurement.
        examples: drawn in all steps of training.
        engine: what executes the model, made ready for each batch size before that is timed; None is PyTorch itself.
    """
    trained = load_trained(directory, device)
    architecture, shape = architecture_of(trained.manifest), trained.manifest["shape"]
    eager = predictor(trained.module, trained.precision, device)
    agreement = Agreement(
        "eager" if engine is None else engine.name, trained.precision.name, trained.manifest.get("quantized") is not None
    )

    def ready(some: torch.Tensor) -> Callable[[], object]:
        """A call that predicts these inputs; another engine has then done so once, and was held to PyTorch itself."""
        if engine is None or engine.name == "eager":
            return lambda: eager(some)
        predict = predictor(trained.module, trained.precision, device, engine, some, trained.kept)
        agreement.tell(predict(some), eager(some))
        return lambda: predict(some)

    def inputs(size: int) -> torch.Tensor:
        return example_inputs(architecture, shape, size).to(device)

    found: dict[str, Any] = {}
    one = inputs(1)
    latency = time_calls(ready(one), device, seconds)
    found["infer/latency_ms"] = entry(median_interval(latency.seconds).scaled(1e3))
    found["infer/latency_p90_ms"] = percentile_ms(latency.single, 90)
    found["infer/latency_p99_ms"] = percentile_ms(latency.single, 99)
    predict_batch = ready(inputs(batch_size))
    calls = 0

    def predict_many() -> None:
        nonlocal calls
        calls += 1
        predict_batch()

    with EnergyMeter(device) as energy:
        begin = time.perf_counter()
        batches = time_calls(predict_many, device, seconds, percentiles=False)
        if energy.reason is None:
            _go_on(predict_many, device, begin + 1.1 * LEAST_SECONDS.get(device.type, 0.0))
    found["infer/energy_j_per_sample"] = energy_entry(energy, calls * batch_size)
    found["infer/samples_per_s"] = _rate(batches, batch_size)
    samples: dict[str, Any] = {
        "infer/latency_s": latency.as_samples(),
        "infer/batch_s": {"batch_size": batch_size, **batches.as_samples()},
    }
    timings = [latency, batches]
    for size in dict.fromkeys(further_batch_sizes):
        try:
            timed = time_calls(ready(inputs(size)), device, seconds, percentiles=False)
        except Unsupported:
            raise
        except Exception as error:  # noqa: BLE001 - a model may fail at a size for any reason; it becomes the metrics' own
            why = missing(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
            found |= {batch_metric(size, of): why for of in ("latency_ms", "samples_per_s")}
            continue
        found[batch_metric(size, "latency_ms")] = entry(median_interval(timed.seconds).scaled(1e3))
        found[batch_metric(size, "samples_per_s")] = _rate(timed, size)
        samples[f"infer/batch_{size}_s"] = timed.as_samples()
        timings.append(timed)
    if isinstance(trained.module, Decoder):
        plain = decoder(trained.module, trained.precision, device)
        try:
            by_token = plain
            if engine is not None and engine.name != "eager":
                by_token = decoder(trained.module, trained.precision, device, engine, trained.kept)
                for ours, theirs in zip(_first_answers(by_token, one), _first_answers(plain, one), strict=True):
                    agreement.tell(ours, theirs)
            decoding, decoding_samples = decoding_metrics(by_token, one, device, seconds / 2)
        except Unsupported as error:
            found |= not_decoded(str(error))
        else:
            found |= decoding
            samples |= decoding_samples
    found |= agreement.metrics()

    found["infer/flops_per_sample"] = measured(forward_flops(lambda: untrained(trained.manifest), one))
    with trained.precision.context(device.type):  # tf32 is a mode of the device, not a dtype
        ceiling = matmul_ceiling(device, trained.precision.matmul_dtype, seconds=min(1.0, seconds / 20)).flops_per_s
    found |= compute_metrics(training_flops(lambda: untrained(trained.manifest), one), examples, training_seconds, ceiling)
    samples["ceiling_flops_per_s"] = ceiling
    flags = {"not_steady": not all(one.steady for one in timings), "recompiled": any(one.recompiled for one in timings)}
    return found, samples, [flag for flag, raised in flags.items() if raised]


def _first_answers(model: Decoder, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits after a prompt of half the context, and after one token more."""
    half = max(1, model.context // 2)
    logits, cache = model.prefill(tokens[:, :half])
    prompt = logits.float().clone()  # an engine may write the next ones there
    return prompt, model.decode(tokens[:, half : half + 1], cache).float() if half < model.context else prompt


def _go_on(call: Callable[[], object], device: torch.device, end: float) -> None:
    """Call until `end` by the clock: an energy counter takes longer to tell than a clock."""
    while time.perf_counter() < end:
        call()
        synchronise(device)


def _rate(timed: Timed, batch_size: int) -> dict[str, Any]:
    """Examples a second at a batch size, as a metric."""
    middle: Interval = median_interval(timed.seconds)
    return measured(
        batch_size / middle.value,
        None if middle.high is None else batch_size / middle.high,
        None if middle.low is None else batch_size / middle.low,
        middle.n,
    )
