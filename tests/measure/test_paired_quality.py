"""Differences of quality paired over examples: by hand, and on simulated answers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from thrifty.measure.paired_quality import accuracy_difference, class_difference, mean_difference, statistic_difference

TRIES = 400


def answers(
    generator: np.random.Generator, n: int, both: float, only_first: float, only_second: float
) -> tuple[np.ndarray, ...]:
    """Right and wrong answers of two models: shares of examples that both, only one, only the other answers right."""
    which = generator.random(n)
    first = which < both + only_first
    second = (which < both) | ((which >= both + only_first) & (which < both + only_first + only_second))
    return first.astype(float), second.astype(float)


def test_mcnemar_by_hand() -> None:
    """10 examples only the first has right, 2 only the second: p of 12 tosses at least as uneven, twice (1 + 12 + 66) / 4096."""
    first = np.array([1.0] * 10 + [0.0] * 2 + [1.0] * 50 + [0.0] * 8)
    second = np.array([0.0] * 10 + [1.0] * 2 + [1.0] * 50 + [0.0] * 8)
    found = accuracy_difference(first, second)
    assert found.difference.value == pytest.approx(-8 / 70)
    assert found.p_value == pytest.approx(2 * 79 / 4096)
    assert found.differs


def test_agresti_and_min_s_interval_by_hand() -> None:
    """Of 70: cells 10.5 and 2.5 of 72; -8/72 +- 1.95996 sqrt(13 - 64/72) / 72."""
    first = np.array([1.0] * 10 + [0.0] * 2 + [1.0] * 58)
    second = np.array([0.0] * 10 + [1.0] * 2 + [1.0] * 58)
    half = 1.959964 * np.sqrt(13 - 64 / 72) / 72
    interval = accuracy_difference(first, second).difference
    assert interval.low == pytest.approx(-8 / 72 - half, abs=1e-6)
    assert interval.high == pytest.approx(-8 / 72 + half, abs=1e-6)


def test_the_same_answers_do_not_differ() -> None:
    same = np.array([1.0, 0.0, 1.0])
    found = accuracy_difference(same, same)
    assert found.difference.value == 0
    assert found.p_value == 1
    assert not found.differs


@pytest.mark.parametrize("n", [60, 400])
def test_accuracy_s_interval_covers_and_claims_no_more_than_it_may(n: int) -> None:
    generator = np.random.default_rng(n)
    covered = false = 0
    for _ in range(TRIES):
        found = accuracy_difference(*answers(generator, n, 0.8, 0.06, 0.03))
        assert found.difference.low is not None
        assert found.difference.high is not None
        covered += found.difference.low <= -0.03 <= found.difference.high
        false += accuracy_difference(*answers(generator, n, 0.8, 0.05, 0.05)).differs
    assert covered >= 0.93 * TRIES
    assert false <= 0.06 * TRIES


def test_pairing_sees_what_two_separate_intervals_would_not() -> None:
    """Two models whose losses differ by 0.01 on every example, where examples differ by 1."""
    generator = np.random.default_rng(0)
    losses = generator.exponential(1.0, 300)
    found = mean_difference(losses, losses + 0.01 + generator.normal(0, 0.01, 300))
    assert found.differs
    assert found.difference.value == pytest.approx(0.01, abs=0.002)
    assert stats.sem(losses) > 0.05


def test_a_statistic_s_difference_draws_the_same_examples_for_both() -> None:
    """The same column for both has a difference of exactly 0 in every draw."""
    column = np.random.default_rng(0).normal(0, 1, (50, 1))
    found = statistic_difference(lambda drawn: float(drawn.mean()), column, column)
    assert (found.difference.low, found.difference.value, found.difference.high) == (0, 0, 0)
    moved = statistic_difference(lambda drawn: float(drawn.mean()), column, column + 2)
    assert moved.difference.low == pytest.approx(2)
    assert moved.differs


def told(generator: np.random.Generator, truth: np.ndarray, noise: np.ndarray, skill: float) -> np.ndarray:
    """Two classes' probabilities of a model that knows so much; `noise` is what the examples themselves hide."""
    second = 1 / (1 + np.exp(-(skill * (2 * truth - 1) + noise + generator.normal(0, 0.3, len(truth)))))
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize("metric", ["f1_macro", "worst_class_accuracy", "auroc", "calibration_error"])
def test_metrics_of_classes_pair_over_examples(metric: str) -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random(400) < 0.4).astype(int)
    noise = generator.normal(0, 1, 400)
    worse, better = told(generator, truth, noise, 0.5), told(generator, truth, noise, 2.5)
    same = class_difference(metric, worse, worse, truth)
    assert same is not None
    assert (same.difference.low, same.difference.value, same.difference.high) == (0, 0, 0)
    assert not same.differs
    found, back = class_difference(metric, worse, better, truth), class_difference(metric, better, worse, truth)
    assert found is not None
    assert back is not None
    if metric != "calibration_error":
        assert found.differs
        assert found.difference.value > 0
    assert found.difference.n == 400
    assert back.difference.value == -found.difference.value
    assert back.difference.low == pytest.approx(-(found.difference.high or 0))


def test_two_models_as_good_as_each_other_are_claimed_to_differ_no_more_often_than_may_be() -> None:
    generator, tries = np.random.default_rng(1), 100
    false = dict.fromkeys(("f1_macro", "worst_class_accuracy", "auroc", "calibration_error"), 0)
    for _ in range(tries):
        truth = (generator.random(114) < 0.4).astype(int)
        noise = generator.normal(0, 1, 114)
        first, second = told(generator, truth, noise, 1.0), told(generator, truth, noise, 1.0)
        for metric in false:
            found = class_difference(metric, first, second, truth, resamples=200)
            assert found is not None
            false[metric] += found.differs
    assert max(false.values()) <= 0.05 * tries + 2 * np.sqrt(0.05 * 0.95 * tries), false


def test_what_examples_do_not_tell_has_no_difference() -> None:
    probability = np.array([[0.4, 0.6], [0.7, 0.3]])
    assert class_difference("auroc", probability, probability, np.array([1, 1])) is None
    assert class_difference("f1_macro", probability, np.full((2, 2), np.nan), np.array([1, 0])) is None
