"""Timing by a clock that the tests move, and what a percentile needs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from moved_clock import MovedClock
from scipy import stats

from thrifty.measure import timing
from thrifty.measure.timing import NEEDED_SAMPLES, percentile_ms, time_calls

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    one = MovedClock()
    monkeypatch.setattr(timing, "time", one)
    return one


def test_calls_are_timed_one_by_one_for_the_time_given_after_a_tenth_of_it_as_warm_up(clock: MovedClock) -> None:
    # A tenth of 8 s: 0.75 s is not enough, 3 x 0.25 are; then 0.25 s a call for 8 s, and the samples are those alone.
    samples = time_calls(clock.taking(0.25), CPU, 8.0)
    assert samples.tolist() == [0.25] * 32
    assert clock.now - 1000 == 0.25 * (4 + 32)


def test_a_slow_start_is_warm_up_and_not_a_sample(clock: MovedClock) -> None:
    assert set(time_calls(clock.taking(5.0, 1.0, 0.75, 0.5), CPU, 2.0).tolist()) == {0.5}


def test_the_last_call_may_run_over_the_end_and_is_a_sample(clock: MovedClock) -> None:
    assert time_calls(clock.taking(0.75), CPU, 2.5).tolist() == [0.75] * 4


def test_calls_longer_than_the_time_given_are_made_a_few_times_all_the_same(clock: MovedClock) -> None:
    assert time_calls(clock.taking(60.0), CPU, 1.0).tolist() == [60.0] * 3
    assert time_calls(clock.taking(60.0), CPU, 1.0, least=1).tolist() == [60.0]


def test_calls_of_no_time_come_to_an_end(clock: MovedClock) -> None:
    assert len(time_calls(clock.taking(0.0), CPU, 1.0)) == timing.MOST_SAMPLES


def test_the_device_is_waited_for_within_the_time_of_the_call(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
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
