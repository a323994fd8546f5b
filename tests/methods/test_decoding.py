"""What is timed of a model with a cache, and what becomes of the times."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from small_training import CPU, mlp
from torch import Tensor, nn

from chosen import chosen
from thrifty.architectures.cache import Cache, Decoder
from thrifty.config.registry import load
from thrifty.methods.decoder import decoder
from thrifty.methods.decoding import decoding_metrics, speed_metrics
from thrifty.methods.sequence import evenly_chosen
from thrifty.precisions.base import Precision


class Noting:
    """A model that only notes how it is called."""

    def __init__(self, context: int, precision: Noted) -> None:
        self.context, self.precision = context, precision
        self.prompts: list[list[int]] = []
        self.decoded: list[tuple[int, int]] = []

    def prefill(self, tokens: Tensor) -> tuple[Tensor, Cache]:
        self._check()
        self.prompts.append(tokens[0].tolist())
        return torch.zeros(1, 1), Cache(1, self.context, length=tokens.shape[1])

    def decode(self, token: Tensor, cache: Cache) -> Tensor:
        self._check()
        assert token.shape == (1, 1)
        self.decoded.append((cache.length, int(token)))
        cache.length += 1
        return torch.zeros(1, 1)

    def _check(self) -> None:
        assert torch.is_inference_mode_enabled()
        self.precision.passes += 1
        assert self.precision.entered == self.precision.passes, "the precision is entered once for each pass"


class Noted(Precision):
    """Counts how often it is entered."""

    entered = passes = 0

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        self.entered += 1
        return nullcontext()

    def unsupported(self, device_type: str) -> str | None:
        return None


@pytest.mark.parametrize(("context", "half"), [(2, 1), (7, 3), (16, 8)])
def test_the_first_half_is_the_prompt_and_each_token_of_the_second_comes_at_its_place(context: int, half: int) -> None:
    model = Noting(context, Noted())
    sequence = list(range(100, 100 + context))
    _, samples = decoding_metrics(decoder(model, model.precision, CPU), torch.tensor([sequence]), CPU, 0.5)
    prefills = samples["infer/prefill_s"]
    assert prefills["tokens"] == half
    assert model.prompts.count(sequence[:half]) >= len(prefills["seconds"]) >= 3
    assert set(map(tuple, model.prompts)) == {tuple(sequence[:half]), tuple(sequence)}
    assert {place for place, _ in model.decoded} == set(range(half, context))
    assert all(token == 100 + place for place, token in model.decoded)
    assert samples["infer/decode_s"]["positions"] == list(range(half, context))


def test_a_model_too_slow_for_the_time_decodes_one_token_in_the_middle() -> None:
    model = Noting(16, Noted())
    _, samples = decoding_metrics(decoder(model, model.precision, CPU), torch.zeros(1, 16, dtype=torch.int64), CPU, 0.0)
    assert samples["infer/decode_s"]["positions"] == [12]
    assert {place for place, _ in model.decoded} == {12}
    assert len(samples["infer/decode_s"]["seconds"]) == len(samples["infer/prefill_s"]["seconds"]) == 3


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(8, 100, range(8)), (8, 8, range(8)), (8, 4, [1, 3, 5, 7]), (9, 3, [1, 4, 7]), (9, 1, [4]), (9, 0, [4]), (1, 0, [0])],
)
def test_what_there_is_time_for_is_spread_evenly(count: int, most: int, expected: Any) -> None:
    assert evenly_chosen(count, most) == list(expected)


def test_times_become_metrics() -> None:
    # Repetitions of 4 tokens in 2, 4, ... 18 seconds: the median token takes 10 / 4 s. By the binomial of 9 the interval
    # lies between the 2nd and the 8th.
    found = speed_metrics(np.array([0.003, 0.001, 0.002]), np.arange(2.0, 20.0, 2.0), 4)
    assert found["infer/prefill_ms"] == {"value": pytest.approx(2.0), "low": None, "high": None, "n": 3}
    assert found["infer/decode_ms"] == {"value": 2500.0, "low": 1000.0, "high": 4000.0, "n": 9}
    assert found["infer/tokens_per_s"] == {"value": 0.4, "low": 0.25, "high": 1.0, "n": 9}


def test_a_transformer_has_a_cache_and_a_funnel_has_none() -> None:
    model: nn.Module = load("architecture", "gpt")(
        chosen("architecture=gpt", width=64, depth=1), {"vocabulary": 9, "context": 4}, 0.0
    )
    assert isinstance(model, Decoder)
    assert not isinstance(mlp(4), Decoder)
