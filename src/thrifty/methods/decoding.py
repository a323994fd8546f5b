"""Speed of a model that is run token by token: reading a prompt, and each token after it with the cache."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thrifty.architectures.cache import Cache, Decoder
from thrifty.errors import Unsupported
from thrifty.measure.statistics import median_interval
from thrifty.measure.timing import collector_off, time_calls
from thrifty.measure.workload import Workload
from thrifty.methods.arithmetic import entry
from thrifty.methods.model import architecture_of, example_inputs, load_trained
from thrifty.metrics import measured
from thrifty.precisions.base import Precision

REPETITIONS = 10
"""At least so many of the tokens' are to fit in the time, so that their median has an interval."""
_POSITIONS = 16
"""Tokens in a call of an arm, evenly spread."""


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
    sequence = Sequence(model, precision, tokens, device)
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


class Sequence:
    """One sequence, of which the first half of the context is a prompt and the second is decoded token by token.

    The precision is entered for each pass, as `predictor` does: a token costs what it costs a program that predicts.
    """

    def __init__(self, model: Decoder, precision: Precision, tokens: Tensor, device: torch.device) -> None:
        self.model, self.precision, self.tokens, self.device = model, precision, tokens, device
        self.half = model.context // 2

    def prefill(self) -> Cache:
        """Read the prompt."""
        return self._read(self.tokens[:, : self.half])

    def positions(self, most: int) -> list[int]:
        """At most `most` places of the second half, evenly spread over it."""
        return [self.half + number for number in evenly_chosen(self.model.context - self.half, most)]

    def decode(self, positions: list[int]) -> None:
        """The tokens at these places, each with a cache of all before it."""
        for position in positions:
            self._cache.length = position
            with torch.inference_mode(), self.precision.context(self.device.type):
                self.model.decode(self._token[position], self._cache)

    @functools.cached_property
    def _cache(self) -> Cache:
        return self._read(self.tokens)  # all of it, as latency was timed on, so that no kernel is new to this shape

    @functools.cached_property
    def _token(self) -> list[Tensor]:
        return list(self.tokens.split(1, dim=1))

    def _read(self, tokens: Tensor) -> Cache:
        with torch.inference_mode(), self.precision.context(self.device.type):
            return self.model.prefill(tokens)[1]


def prefill(run: str, config_hash: str, device: str) -> Workload:
    """What an arm measures: reading a prompt of half the context with a run's model.

    Raises:
        BadData: files missing, altered, truncated, or of another run.
        Unsupported: a model that is not run token by token.
    """
    sequence = _sequence_of(run, config_hash, device)
    return Workload(sequence.prefill, sequence.device)


def decoding(run: str, config_hash: str, device: str) -> Workload:
    """What an arm measures: tokens of the context's second half, each from the cache; an example is a token.

    Raises:
        BadData, Unsupported: as `prefill`.
    """
    sequence = _sequence_of(run, config_hash, device)
    positions = sequence.positions(_POSITIONS)
    return Workload(lambda: sequence.decode(positions), sequence.device, len(positions))


def _sequence_of(run: str, config_hash: str, device: str) -> Sequence:
    where = torch.device(device)
    trained = load_trained(Path(run), where, config_hash)
    if not isinstance(trained.module, Decoder):
        raise Unsupported(f"architecture={trained.manifest['architecture']['name']} is not run token by token")
    trained.module.eval()
    tokens = example_inputs(architecture_of(trained.manifest), trained.manifest["shape"], 1).to(where)
    return Sequence(trained.module, trained.precision, tokens, where)


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
