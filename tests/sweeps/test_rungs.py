"""Which trials go on at a rung, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from thrifty.sweeps.rungs import goes_on, passed, ranks, rungs


def test_ranks_of_points_in_a_plane() -> None:
    losses = np.array([[1, 5], [2, 3], [4, 1], [2, 5], [4, 4], [5, 5], [1, 5]], dtype=float)
    assert ranks(losses).tolist() == [0, 0, 0, 1, 1, 2, 0], "the last is the first once more: equal points dominate none"


def test_ranks_of_one_objective_are_the_order() -> None:
    assert ranks(np.array([[3.0], [1.0], [2.0], [1.0]])).tolist() == [2, 0, 1, 0]


def test_rungs_are_shares_of_a_training() -> None:
    assert rungs(3) == [1 / 27, 1 / 9, 1 / 3]
    assert passed(0.0, 3) == []
    assert passed(23 / 200, 3) == [0, 1], "the first step at or behind it"
    assert passed(1 / 3, 3) == [0, 1, 2]
    assert passed(1 / 9, 3) == [0, 1], "whatever ninths are in binary"


@pytest.mark.parametrize(
    ("mine", "others", "stays"),
    [
        ([1, 1], [], True),
        ([2, 2], [[1, 1]], False),  # one of two is better, and one in three goes on
        ([1, 2], [[2, 1], [3, 3], [4, 4]], True),
        ([3, 3], [[2, 1], [1, 2], [4, 4]], False),  # two of four are better
        ([3, 3], [[1, 1], [4, 4], [5, 5], [6, 6]], True),  # one of five is
        ([3, 3], [[1, 1], [2, 2], [4, 4], [5, 5], [6, 6]], False),  # two of six are a third
        ([3, 3], [[3, 3]] * 5, True),
    ],
)
def test_one_in_three_goes_on(mine: list[float], others: list[list[float]], stays: bool) -> None:
    assert goes_on(mine, others, 3) is stays


def test_what_none_dominates_goes_on_however_many_there_are() -> None:
    front = [[float(one), float(100 - one)] for one in range(100)]
    assert all(goes_on(one, [other for other in front if other is not one], 4) for one in front)


def test_of_many_at_random_about_one_in_three_goes_on() -> None:
    drawn = np.random.default_rng(0).random((300, 2)).tolist()
    last = sum(goes_on(one, drawn[:200], 3) for one in drawn[200:])
    assert 20 <= last <= 46, last
