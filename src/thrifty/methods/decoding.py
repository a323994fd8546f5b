"""Speed of a model that is run token by token: reading a prompt, and each token after it with the cache."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thrifty.architectures.cache import Cache, Decoder
from thrifty.measure.statistics import median_interval
from thrifty.measure.timing import collector_off, time_calls
from thrifty.methods.arithmetic import entry
from thrifty.metrics import measured, missing
from thrifty.precisions.base import Precision

REPETITIONS = 10
"""At least so many of the tokens' are to fit in the time, so that their median has an interval."""


@collector_off()
def decoding_metrics(
    model: Decoder, precision: Precision, tokens: Tensor, device: torch.device, seconds: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prefill of half the context and decoding of the other half, for one sequence; the metrics and the raw samples.

    Args:
        model: in evaluation mode.
        tokens: one sequence (1, context) on the device.
        seconds: for everything, warm-ups included; a model too slow for it still makes the least number of calls.
    """
    end = time.perf_counter() + seconds
    context = model.context
    half = context // 2
    prompt = tokens[:, :half]

    # The precision is entered for each pass, as `predictor` does: a token costs what it costs a program that predicts.
    def read(some: Tensor) -> Cache:
        with torch.inference_mode(), precision.context(device.type):
            return model.prefill(some)[1]

    prefill = time_calls(lambda: read(prompt), device, 0.3 * seconds, percentiles=False)
    cache = read(tokens)  # all of it, as latency was timed on, so that no kernel is new to this shape
    places = [(position, tokens[:, position : position + 1]) for position in range(half, context)]

    def decode(some: list[tuple[int, Tensor]]) -> None:
        for position, token in some:
            cache.length = position
            with torch.inference_mode(), precision.context(device.type):
                model.decode(token, cache)

    middle = [places[len(places) // 2]]
    pace = time_calls(lambda: decode(middle), device, 0.0, percentiles=False).seconds.min()
    # The warm-up takes up to a quarter more, and it and the timing may each end a repetition late.
    left = max(0.0, end - time.perf_counter()) / (1.25 + 2 / REPETITIONS)
    chosen = evenly_chosen(len(places), int(left / pace / REPETITIONS))
    some = [places[number] for number in chosen]
    decoded = time_calls(lambda: decode(some), device, left, percentiles=False)
    samples = {
        "infer/prefill_s": {"tokens": half, **prefill.as_samples()},
        "infer/decode_s": {"positions": [position for position, _ in some], **decoded.as_samples()},
    }
    return speed_metrics(prefill.seconds, decoded.seconds, len(some)), samples


def not_decoded(reason: str) -> dict[str, Any]:
    """The same metrics, all missing."""
    return {f"infer/{name}": missing(reason) for name in ("prefill_ms", "decode_ms", "tokens_per_s")}


def evenly_chosen(count: int, most: int) -> list[int]:
    """At least one and at most `most` of the numbers below `count`, evenly spread over all of them."""
    parts = max(1, min(count, most))
    return [(2 * number + 1) * count // (2 * parts) for number in range(parts)]


def speed_metrics(prefill: np.ndarray, decoded: np.ndarray, tokens: int) -> dict[str, Any]:
    """The metrics from seconds of prefills, and of repetitions that decoded `tokens` tokens each."""
    token = median_interval(decoded / tokens)
    return {
        "infer/prefill_ms": entry(median_interval(prefill).scaled(1e3)),
        "infer/decode_ms": entry(token.scaled(1e3)),
        "infer/tokens_per_s": measured(
            1 / token.value,
            None if token.high is None else 1 / token.high,
            None if token.low is None else 1 / token.low,
            token.n,
        ),
    }
