"""Intervals against published or hand-computed values, and against the coverage they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from thrifty.measure.statistics import (
    Interval,
    bootstrap_interval,
    mean_interval,
    median_interval,
    share_interval,
    trimmed_mean,
    weighted_mean_interval,
)


def _bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def test_mean_of_five_numbers() -> None:
    interval = mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.7764451 * math.sqrt(2.5) / math.sqrt(5)  # t at 0.975 with 4 degrees of freedom, from a table
    assert (interval.value, interval.n) == (3.0, 5)
    assert _bounds(interval) == pytest.approx((3 - half, 3 + half), rel=1e-6)


def test_mean_of_one_number_has_no_interval() -> None:
    assert mean_interval(np.array([7.0])) == Interval(7.0, None, None, 1)


def test_a_weighted_mean_by_hand() -> None:
    """Shares of a half and two quarters: squares about the mean of 2 come to 0.5 + 0 + 1, over two degrees of freedom."""
    interval = weighted_mean_interval(np.array([1.0, 2.0, 4.0]), np.array([20.0, 10.0, 10.0]))
    half = 4.3026527 * math.sqrt(1.5 / 2)
    assert interval.value == pytest.approx(2)
    assert _bounds(interval) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_equal_weights_make_students_interval() -> None:
    samples = np.array([1.0, 2.0, 3.0, 5.0])
    weighted, plain = weighted_mean_interval(samples, np.full(4, 7.0)), mean_interval(samples)
    assert weighted.value == pytest.approx(plain.value)
    assert _bounds(weighted) == pytest.approx(_bounds(plain))


def test_a_weighted_mean_is_no_surer_than_what_it_is_made_of() -> None:
    samples, weights = np.array([1.0, 1.001, 0.999]), np.ones(3)
    low, high = _bounds(weighted_mean_interval(samples, weights, 0.5))
    assert (high - low) / 2 == pytest.approx(4.303 * 0.5, rel=1e-3)  # Student's t for two degrees of freedom
    assert weighted_mean_interval(samples, weights, 1e-9) == weighted_mean_interval(samples, weights)


def test_a_weighted_mean_of_one_number_has_no_interval() -> None:
    assert weighted_mean_interval(np.array([7.0]), np.array([3.0])) == Interval(7.0, None, None, 1)


def test_weighted_intervals_hold_the_truth_whatever_the_precision_of_each() -> None:
    generator, held = np.random.default_rng(0), 0
    for _ in range(2000):
        errors = np.exp(generator.normal(0, 1, 7))
        low, high = _bounds(weighted_mean_interval(generator.normal(3, errors), 1 / errors**2))
        held += low <= 3 <= high
    assert 0.93 <= held / 2000 <= 0.97


def test_a_trimmed_mean_and_its_error_by_hand() -> None:
    """Of eight, two go at each end; 3 and 6 stand for them in the winsorised deviation, the root of 14 / 7."""
    mean, error = trimmed_mean(np.array([100.0, 5, 1, 4, 3, 7, 2, 6]), 0.25)
    assert mean == 4.5
    assert error == pytest.approx(math.sqrt(2) / (0.5 * math.sqrt(8)))
    assert trimmed_mean(np.array([3.0]), 0.25) == (3.0, 0.0)


def test_the_error_of_a_trimmed_mean_is_its_scatter() -> None:
    generator = np.random.default_rng(0)
    found = np.array([trimmed_mean(generator.normal(0, 1, 40), 0.25) for _ in range(2000)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.05)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_a_mean_that_is_no_number_has_no_interval(bad: float) -> None:
    interval = mean_interval(np.array([1.0, bad, 2.0]))
    assert not math.isfinite(interval.value)
    assert (interval.low, interval.high, interval.n) == (None, None, 3)


def test_a_bootstrap_of_no_resamples_has_no_interval() -> None:
    assert bootstrap_interval(lambda rows: float(rows.mean()), np.arange(5.0)[:, None], resamples=0) == Interval(2.0, n=5)


def test_mean_of_equal_numbers_is_sharp() -> None:
    assert mean_interval(np.full(4, 2.0)) == Interval(2.0, 2.0, 2.0, 4)


def test_mean_of_32_bit_samples_is_taken_in_64() -> None:
    assert mean_interval(np.full(10_000, 0.1, dtype=np.float32)).value == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe, Statistics in Medicine 17, 1998, table I: 0.2553 to 0.3662
        (15, 148, 0.0624, 0.1605),  # the same
        (0, 20, 0.0, 0.1611),  # the same
        (1, 29, 0.0061, 0.1718),  # the same
    ],
)
def test_share_as_published(successes: int, n: int, low: float, high: float) -> None:
    interval = share_interval(successes, n)
    assert (interval.value, interval.n) == (successes / n, n)
    assert _bounds(interval) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 7, 1000, 123_457])
def test_share_at_the_ends_holds_itself_and_stays_in_0_to_1(n: int) -> None:
    low, high = _bounds(share_interval(0, n))
    assert low == 0 < high < 1
    low, high = _bounds(share_interval(n, n))
    assert 0 < low < high == 1


def test_median_lies_between_order_statistics() -> None:
    # Tables give the 2nd and 9th of 10 (97.9%), the 6th and 15th of 20 (95.9%), the least and greatest of 6 (96.9%).
    for n, low, high in ((10, 2, 9), (20, 6, 15), (6, 1, 6)):
        shuffled = np.random.default_rng(0).permutation(np.arange(1, n + 1))
        interval = median_interval(shuffled)
        assert interval == Interval((n + 1) / 2, low, high, n)


def test_median_of_five_has_no_interval() -> None:
    assert median_interval(np.array([5.0, 1.0, 4.0, 2.0, 3.0])) == Interval(3.0, None, None, 5)


def test_bootstrap_of_a_mean_is_the_normal_interval() -> None:
    samples = np.random.default_rng(1).normal(10, 2, size=(400, 1))
    interval = bootstrap_interval(lambda rows: float(rows.mean()), samples)
    half = 1.96 * samples.std() / 20
    assert interval.value == pytest.approx(samples.mean())
    assert _bounds(interval) == pytest.approx((samples.mean() - half, samples.mean() + half), abs=half / 5)


def test_bootstrap_draws_whole_rows_and_the_same_ones_for_a_seed() -> None:
    rows = np.column_stack([np.arange(50.0), -np.arange(50.0)])
    sums = bootstrap_interval(lambda drawn: float(drawn.sum()), rows)
    assert sums == Interval(0.0, 0.0, 0.0, 50)
    first = bootstrap_interval(lambda drawn: float(drawn[:, 0].mean()), rows, seed=1)
    assert first == bootstrap_interval(lambda drawn: float(drawn[:, 0].mean()), rows, seed=1)
    assert first != bootstrap_interval(lambda drawn: float(drawn[:, 0].mean()), rows, seed=2)


def test_bootstrap_of_a_statistic_that_mostly_fails_has_no_interval() -> None:
    interval = bootstrap_interval(lambda rows: math.nan if len(np.unique(rows)) < 10 else 1.0, np.arange(10.0)[:, None])
    assert interval == Interval(1.0, None, None, 10)


def test_scaling_moves_the_bounds_and_keeps_the_count() -> None:
    assert Interval(2.0, 1.0, 4.0, 9).scaled(1000) == Interval(2000.0, 1000.0, 4000.0, 9)
    assert Interval(2.0, n=3).scaled(10) == Interval(20.0, None, None, 3)


def test_what_cannot_be_negative_has_no_negative_bound() -> None:
    assert Interval(0.5, -0.25, 1.25, 9).at_least(0) == Interval(0.5, 0.0, 1.25, 9)
    assert Interval(0.5, 0.25, 0.75, 9).at_least(0) == Interval(0.5, 0.25, 0.75, 9)
    assert Interval(0.5, n=1).at_least(0) == Interval(0.5, None, None, 1)


@pytest.mark.parametrize("kind", ["mean", "median", "share", "bootstrap"])
def test_95_of_100_intervals_hold_the_truth(kind: str) -> None:
    generator = np.random.default_rng(0)
    tries, held = 300 if kind == "bootstrap" else 1000, 0
    for _ in range(tries):
        if kind == "mean":
            truth, interval = 1.0, mean_interval(generator.normal(1, 3, size=8))
        elif kind == "median":
            truth, interval = math.log(2), median_interval(generator.exponential(size=15))
        elif kind == "share":
            truth, interval = 0.9, share_interval(int(generator.binomial(200, 0.9)), 200)
        else:
            samples = generator.normal(1, 3, size=(60, 1))
            truth, interval = 1.0, bootstrap_interval(lambda rows: float(rows.mean()), samples, resamples=200)
        low, high = _bounds(interval)
        held += low <= truth <= high
    # Three standard errors either way; the exact median interval may hold more often, the bootstrap of 60 less.
    slack = 3 * math.sqrt(0.95 * 0.05 / tries)
    assert (
        0.95 - slack - (0.015 if kind == "bootstrap" else 0)
        <= held / tries
        <= 0.95 + slack + (0.015 if kind == "median" else 0)
    )
