"""When how much goes."""

from __future__ import annotations

import pytest

from thrifty.config.choices.methods import Pace
from thrifty.pruners.pace import due_steps, sparsity_after


def test_one_shot_is_all_before_the_first_step() -> None:
    assert due_steps(Pace.one_shot, 0.9, 5, 100) == {0: 0.9}
    assert sparsity_after(Pace.one_shot, 0.9, 5, 0, 100) == 0.9


def test_every_round_leaves_the_same_share() -> None:
    due = due_steps(Pace.iterative, 0.875, 3, 30)
    assert due == pytest.approx({0: 0.5, 10: 0.75, 20: 0.875})
    assert list(due.values())[-1] == 0.875
    assert [sparsity_after(Pace.iterative, 0.875, 3, step, 30) for step in (0, 9, 10, 29)] == pytest.approx(
        [0.5, 0.5, 0.75, 0.875]
    )


def test_rounds_begin_at_whole_steps() -> None:
    assert list(due_steps(Pace.iterative, 0.9, 3, 10)) == [0, 3, 6]
    assert due_steps(Pace.iterative, 0.9, 1, 10) == {0: 0.9}


def test_more_rounds_than_steps() -> None:
    due = due_steps(Pace.iterative, 0.9, 7, 3)
    assert list(due) == [0, 1, 2]
    assert due[2] == 0.9


def test_gradual_goes_along_the_cubic_curve_of_zhu_and_gupta() -> None:
    due = due_steps(Pace.gradual, 0.8, 1, 100)
    assert list(due) == list(range(1, 81))
    assert due[40] == pytest.approx(0.8 * (1 - 0.5**3))
    assert due[20] == pytest.approx(0.8 * (1 - 0.75**3))
    assert due[80] == 0.8
    assert sparsity_after(Pace.gradual, 0.8, 1, 0, 100) == 0.0
    assert sparsity_after(Pace.gradual, 0.8, 1, 99, 100) == 0.8


def test_gradual_prunes_a_hundred_times_at_most() -> None:
    due = due_steps(Pace.gradual, 0.8, 1, 1050)
    assert list(due)[:3] == [10, 20, 30]
    assert list(due)[-1] == 840
    assert len(due) == 84
    assert len(due_steps(Pace.gradual, 0.8, 1, 1_000_003)) <= 100


@pytest.mark.parametrize("pace", list(Pace))
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 99, 100, 101, 4321])
@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_due_ascends_within_the_steps_to_exactly_the_sparsity(pace: Pace, steps: int, rounds: int) -> None:
    due = due_steps(pace, 0.9, rounds, steps)
    assert list(due) == sorted(due)
    assert all(0 <= step < steps for step in due)
    values = list(due.values())
    assert values == sorted(values)
    assert values[-1] == 0.9
    assert sparsity_after(pace, 0.9, rounds, steps - 1, steps) == 0.9
