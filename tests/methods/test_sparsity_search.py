"""Bisection to the largest sparsity within a bound, on losses made up; and what makes a bound sure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from thrifty.measure.loss_bound import QualityLoss, quality_loss
from thrifty.measure.statistics import Interval
from thrifty.methods.sparsity_search import SparsitySearch


def searched(bound: float, loss_at: Callable[[float], float], half: float = 0.1, n: int = 1000) -> SparsitySearch:
    search = SparsitySearch(bound)
    for sparsity in search:
        loss = loss_at(sparsity)
        search.tell(sparsity, QualityLoss(loss, loss - half, loss + half, n))
    return search


@pytest.mark.parametrize("edge", [0.03, 0.37, 0.5, 0.835, 0.98])
def test_the_edge_is_found_to_a_hundredth_in_a_dozen_tries_at_most(edge: float) -> None:
    search = searched(1.0, lambda sparsity: 0.0 if sparsity <= edge else 5.0)
    assert search.best is not None
    assert edge - 0.011 < search.best.sparsity <= edge
    assert len(search.tried) <= 8
    assert search.flags() == []
    assert f"{search.best.sparsity:g} after {len(search.tried)} evaluations" in search.sentence()


def test_everything_may_go_but_the_last_hundredth() -> None:
    search = searched(1.0, lambda sparsity: 0.0)
    assert search.best is not None
    assert search.best.sparsity == 0.99


def test_nothing_within_the_bound_is_said_to_be_so() -> None:
    search = searched(0.5, lambda sparsity: 3.0)
    assert search.best is None
    assert search.flags() == ["bound_not_met"]
    assert "none of" in search.sentence()
    assert min(one.sparsity for one in search.tried) == 0.01


def test_what_is_within_but_not_sure_says_how_many_examples_would_be_enough() -> None:
    # Half a point lost of one allowed, known to +- 2: the interval must shrink to a quarter, so sixteen times the examples.
    search = searched(1.0, lambda sparsity: 0.5 if sparsity <= 0.7 else 9.0, half=2.0, n=100)
    assert search.flags() == ["not_certified"]
    assert "cannot certify; needs about 1,600 examples" in search.sentence()
    assert "is certified" not in search.sentence()
    assert [one["certified"] for one in search.rows()] == [False] * len(search.tried)


def test_a_smaller_sparsity_that_is_sure_is_named() -> None:
    search = searched(1.0, lambda sparsity: sparsity, half=0.3)
    best = max(one.sparsity for one in search.tried)
    sure = max(one.sparsity for one in search.tried if one.sparsity + 0.3 <= 1.0)
    assert f"{best:g} after" in search.sentence()
    assert f"{sure:g} is certified" in search.sentence()


def test_a_loss_at_the_bound_is_never_certified() -> None:
    assert QualityLoss(1.0, 0.5, 1.5, 100).examples_needed(1.0) is None
    assert QualityLoss(0.5, -1.5, 2.5, 100).examples_needed(1.0) == 1600


@pytest.mark.parametrize(
    ("better", "fraction", "expected"),
    [
        # From 0.9 to 0.88, known to +- 0.01: two points of accuracy lost.
        ("higher", True, (2.0, 1.0, 3.0)),
        # The same numbers of an error: it fell, by 2.2 % of 0.9.
        ("lower", False, (-2.2222, -3.3333, -1.1111)),
        ("lower", True, (-2.0, -3.0, -1.0)),
    ],
)
def test_points_are_hundredths_of_a_share_and_percent_of_an_error(
    better: str, fraction: bool, expected: tuple[float, float, float]
) -> None:
    loss = quality_loss(Interval(-0.02, -0.03, -0.01, 50), better, fraction, first=0.9)
    assert (loss.value, loss.low, loss.high) == pytest.approx(expected, abs=1e-3)
    assert loss.n == 50


def test_without_an_interval_nothing_is_certified() -> None:
    loss = quality_loss(Interval(0.0, None, None, 5), "higher", True, 0.5)
    assert not loss.certified(100.0)
    assert loss.within(0.0)
