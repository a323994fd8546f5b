"""Timing by a clock that the tests move, and what a percentile needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats

from thrifty.measure import ceiling, timing
from thrifty.measure.timing import NEEDED_SAMPLES, percentile_ms, time_calls

CPU = torch.device("cpu")


class Clock:
    """Stands in for the module `time`; only what is timed moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now

    def taking(self, *lengths: float) -> Callable[[], None]:
        """A call that takes these seconds in turn, the last again and again."""
        left = list(lengths)

        def call() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(timing, "time", one)
    monkeypatch.setattr(ceiling, "time", one)
    return one


def test_calls_are_timed_one_by_one_for_the_time_given_after_a_tenth_of_it_as_warm_up(clock: Clock) -> None:
    # A tenth of 8 s: 0.75 s is not enough, 3 x 0.25 are; then 0.25 s a call for 8 s, and the samples are those alone.
    samples = time_calls(clock.taking(0.25), CPU, 8.0)
    assert samples.tolist() == [0.25] * 32
    assert clock.now - 1000 == 0.25 * (4 + 32)


def test_a_slow_start_is_warm_up_and_not_a_sample(clock: Clock) -> None:
    assert set(time_calls(clock.taking(5.0, 1.0, 0.75, 0.5), CPU, 2.0).tolist()) == {0.5}


def test_the_last_call_may_run_over_the_end_and_is_a_sample(clock: Clock) -> None:
    assert time_calls(clock.taking(0.75), CPU, 2.5).tolist() == [0.75] * 4


def test_calls_longer_than_the_time_given_are_made_a_few_times_all_the_same(clock: Clock) -> None:
    assert time_calls(clock.taking(60.0), CPU, 1.0).tolist() == [60.0] * 3
    assert time_calls(clock.taking(60.0), CPU, 1.0, least=1).tolist() == [60.0]


def test_calls_of_no_time_come_to_an_end(clock: Clock) -> None:
    assert len(time_calls(clock.taking(0.0), CPU, 1.0)) == timing.MOST_SAMPLES


def test_the_device_is_waited_for_within_the_time_of_the_call(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(device: torch.device) -> None:
        assert device == CPU
        clock.now += 0.5

    monkeypatch.setattr(timing, "synchronise", waits)
    assert time_calls(clock.taking(0.25), CPU, 1.5).tolist() == [0.75] * 3


@pytest.mark.parametrize("percent", [90, 99])
def test_a_percentile_needs_its_samples(percent: int) -> None:
    needed = NEEDED_SAMPLES[percent]
    short = percentile_ms(np.ones(needed - 1), percent)
    assert short["value"] is None
    assert f"needs {needed} samples, {needed - 1} were made" in str(short["reason"])
    assert percentile_ms(np.full(needed, 0.002), percent) == {"value": 2.0, "low": None, "high": None, "n": needed}


@pytest.mark.parametrize("percent", [90, 99])
def test_with_fewer_samples_a_percentile_could_be_the_extreme(percent: int) -> None:
    def two_lie_above(samples: int) -> float:
        """Chance that at most samples - 2 lie below the percentile."""
        return float(stats.binom.cdf(samples - 2, samples, percent / 100))

    assert two_lie_above(NEEDED_SAMPLES[percent] - 1) < 0.99 <= two_lie_above(NEEDED_SAMPLES[percent])


def test_percentiles_by_hand() -> None:
    samples = np.random.default_rng(0).permutation(np.arange(1001)) / 1000  # 0 to 1000 ms
    assert percentile_ms(samples, 90)["value"] == pytest.approx(900)
    assert percentile_ms(samples, 99)["value"] == pytest.approx(990)


def test_the_ceiling_is_the_fastest_product(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    call = clock.taking(4.0, 2.0, 8.0)
    monkeypatch.setattr(torch, "mm", lambda left, right: call())
    # 2 * 100^3 operations in 2 s at best, of three tries in however long.
    assert ceiling.matmul_flops_per_s(CPU, torch.float32, size=100, seconds=1.0) == 1_000_000


def test_the_ceiling_is_tried_for_the_time_given(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    call = clock.taking(*[2.0] * 9, 1.0, 2.0)
    monkeypatch.setattr(torch, "mm", lambda left, right: call())
    assert ceiling.matmul_flops_per_s(CPU, torch.float32, size=100, seconds=18.5) == 2_000_000  # the tenth try


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ceiling_multiplies_matrices_of_the_dtype_it_was_given(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    multiply, seen = torch.mm, set()

    def watched(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        seen.add((left.dtype, right.dtype, left.shape, right.shape))
        return multiply(left, right)

    monkeypatch.setattr(torch, "mm", watched)
    rate = ceiling.matmul_flops_per_s(CPU, dtype, size=64, seconds=0.0)
    assert seen == {(dtype, dtype, (64, 64), (64, 64))}
    assert 1e6 < rate < 1e15
