"""Speed of a model that is run token by token: reading a prompt, and each token after it with the cache."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thrifty.architectures.cache import Decoder
from thrifty.measure.statistics import median_interval
from thrifty.measure.timing import collector_off, time_calls
from thrifty.methods.arithmetic import entry
from thrifty.methods.sequence import Sequence
from thrifty.metrics import measured, missing

REPETITIONS = 10
"""At least so many of the tokens' are to fit in the time, so that their median has an interval."""


@collector_off()
def decoding_metrics(
    model: Decoder, tokens: Tensor, device: torch.device, seconds: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prefill of half the context and decoding of the other half, for one sequence; the metrics and the raw samples.

    Args:
        model: as `decoder` gives it.
        tokens: one sequence (1, context) on the device.
        seconds: for everything, warm-ups included; a model too slow for it still makes the least number of calls.
    """
    end = time.perf_counter() + seconds
    sequence = Sequence(model, tokens, device)
    prefill = time_calls(sequence.prefill, device, 0.3 * seconds, percentiles=False)
    middle = sequence.positions(1)
    pace = time_calls(lambda: sequence.decode(middle), device, 0.0, percentiles=False).seconds.min()
    # The warm-up takes up to a quarter more, and it and the timing may each end a repetition late.
    left = max(0.0, end - time.perf_counter()) / (1.25 + 2 / REPETITIONS)
    some = sequence.positions(int(left / pace / REPETITIONS))
    decoded = time_calls(lambda: sequence.decode(some), device, left, percentiles=False)
    samples = {
        "infer/prefill_s": {"tokens": sequence.half, **prefill.as_samples()},
        "infer/decode_s": {"positions": some, **decoded.as_samples()},
    }
    return speed_metrics(prefill.seconds, decoded.seconds, len(some)), samples


def not_decoded(reason: str) -> dict[str, Any]:
    """The same metrics, all missing."""
    return {f"infer/{name}": missing(reason) for name in ("prefill_ms", "decode_ms", "tokens_per_s")}


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
