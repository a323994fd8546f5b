"""Timing by a clock that the tests move, and what a percentile needs."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from moved_clock import MovedClock
from scipy import stats

from thrifty.measure import timing
from thrifty.measure.timing import NEEDED_SAMPLES, collector_off, percentile_ms, time_calls, warm_up

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    one = MovedClock()
    monkeypatch.setattr(timing, "time", one)
    return one


def test_calls_are_timed_one_by_one_after_two_windows_that_agree(clock: MovedClock) -> None:
    # A window of the warm-up is an eighth of a quarter of 16 s, and at least 3 calls of 0.25 s; the two first agree.
    found = time_calls(clock.taking(0.25), CPU, 16.0)
    assert found.seconds.tolist() == [0.25] * 64
    assert found.steady
    assert found.calls == 1
    assert clock.now - 1000 == 0.25 * (3 + 3 + 64)


def test_a_slow_start_is_warm_up_and_not_a_sample(clock: MovedClock) -> None:
    found = time_calls(clock.taking(5.0, 1.0, 0.75, 0.5), CPU, 40.0)
    assert set(found.seconds.tolist()) == {0.5}
    assert found.steady


def test_what_never_becomes_steady_says_so(clock: MovedClock) -> None:
    """Every window is a tenth slower than the one before."""
    lengths = [0.25 * 1.1 ** (number // 3) for number in range(60)]
    assert not time_calls(clock.taking(*lengths), CPU, 4.0).steady


def test_the_last_call_may_run_over_the_end_and_is_a_sample(clock: MovedClock) -> None:
    assert time_calls(clock.taking(0.75), CPU, 2.5).seconds.tolist() == [0.75] * 4


def test_calls_longer_than_the_time_given_are_made_a_few_times_all_the_same(clock: MovedClock) -> None:
    assert time_calls(clock.taking(60.0), CPU, 1.0).seconds.tolist() == [60.0] * 3
    assert time_calls(clock.taking(60.0), CPU, 1.0, least=1).seconds.tolist() == [60.0]


def test_calls_of_no_time_come_to_an_end(clock: MovedClock) -> None:
    assert len(time_calls(clock.taking(0.0), CPU, 1.0).seconds) <= NEEDED_SAMPLES[99]


def test_it_ends_when_more_samples_would_tell_nothing_new(clock: MovedClock) -> None:
    assert len(time_calls(clock.taking(0.001), CPU, 100.0).seconds) == NEEDED_SAMPLES[99]


def test_calls_short_against_the_clock_are_timed_several_at_once(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading takes 1 us: ten thousand of them are 10 ms, which is 40 calls of 0.25 ms."""
    monkeypatch.setattr(timing, "clock_seconds", lambda: 1e-6)
    found = time_calls(clock.taking(0.00025), CPU, 1.0)
    assert found.calls == 40
    assert found.seconds == pytest.approx(0.00025)
    assert len(found.single) == NEEDED_SAMPLES[99]
    assert found.single == pytest.approx(0.00025)


def test_where_no_percentile_is_wanted_fewer_samples_will_do_but_not_less_than_a_tenth_of_a_second(clock: MovedClock) -> None:
    found = time_calls(clock.taking(0.0078125), CPU, 100.0, percentiles=False)
    assert len(found.seconds) == 64
    assert len(found.single) == 0
    # 2^-10 s: 64 of them are less than 0.1 s, the next look is at 128.
    assert len(time_calls(clock.taking(0.0009765625), CPU, 100.0, percentiles=False).seconds) == 128


def test_a_median_that_is_not_known_yet_is_sampled_until_the_time_is_over(clock: MovedClock) -> None:
    """Half of the calls take twice as long as the others: the median's interval never closes."""
    lengths = [0.0625, 0.125] * 2000
    found = time_calls(clock.taking(*lengths), CPU, 100.0, percentiles=False)
    assert found.seconds.sum() == pytest.approx(100, abs=0.2)


def test_however_unsure_short_calls_use_so_many_samples_of_each_second_allowed(clock: MovedClock) -> None:
    lengths = [0.001, 0.002] * 3000
    found = time_calls(clock.taking(*lengths), CPU, 4.0, percentiles=False)
    assert len(found.seconds) == 4 * timing.SAMPLES_A_SECOND


def test_windows_of_short_calls_end_before_their_share_of_the_warm_up(clock: MovedClock) -> None:
    steady, shortest = warm_up(clock.taking(0.0009765625), CPU, 800.0)
    # 32 calls are 31 ms, above the 20 that a window takes; two windows agree.
    assert (steady, shortest) == (True, 0.0009765625)
    assert clock.now - 1000 == 2 * 32 * 0.0009765625


def test_samples_are_kept_with_the_calls_in_each(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert time_calls(clock.taking(0.25), CPU, 1.0).as_samples() == {"calls": 1, "seconds": [0.25] * 4}
    monkeypatch.setattr(timing, "clock_seconds", lambda: 0.05e-3)  # ten thousand readings are 0.5 s: 2 calls
    found = time_calls(clock.taking(0.25), CPU, 2.0).as_samples()
    assert found == {"calls": 2, "seconds": [0.25] * 4, "single_s": [0.25] * 3}


def test_on_cuda_the_device_s_own_time_stands_beside(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that works for 0.125 s of each call's 0.25 s."""

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = clock.now / 2

        def elapsed_time(self, end: Event) -> float:
            return 1e3 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(timing, "synchronise", lambda device: None)
    found = time_calls(clock.taking(0.25), torch.device("cuda"), 1.0)
    assert found.seconds.tolist() == [0.25] * 4
    assert found.as_samples()["device_ms"] == [125.0] * 4
    monkeypatch.setattr(timing, "clock_seconds", lambda: 0.25e-3)  # two calls a sample: still the time of one
    assert time_calls(clock.taking(0.25), torch.device("cuda"), 1.0).as_samples()["device_ms"] == [125.0] * 3


def test_within_another_block_the_collector_stays_off() -> None:
    with collector_off():
        with collector_off():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_clock_costs_something_and_not_much() -> None:
    assert 1e-9 < timing.clock_seconds() < 1e-4


def test_the_garbage_collector_is_off_while_timed_and_as_before_afterwards(clock: MovedClock) -> None:
    seen = []
    takes = clock.taking(1.0)

    def call() -> None:
        seen.append(gc.isenabled())
        takes()

    time_calls(call, CPU, 1.0)
    assert set(seen) == {False}
    assert gc.isenabled()
    gc.disable()
    try:
        time_calls(call, CPU, 1.0)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_device_is_waited_for_within_the_time_of_the_call(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(device: torch.device) -> None:
        assert device == CPU
        clock.now += 0.5

    monkeypatch.setattr(timing, "synchronise", waits)
    assert time_calls(clock.taking(0.25), CPU, 1.5).seconds.tolist() == [0.75] * 3


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
