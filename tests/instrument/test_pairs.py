"""What the conditions a comparison was made under mean for its claim."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from thrifty.instrument.comparison import with_budget
from thrifty.instrument.pairs import Plan, judged
from thrifty.measure.comparison import Comparison, Pair
from thrifty.measure.conditions import Conditions
from thrifty.measure.statistics import Interval

TWENTY_PERCENT = [Pair([1.0], [1.2 + 0.001 * number]) for number in range(8)]


@pytest.mark.parametrize(
    ("told", "every_core", "claimed"),
    [
        ({}, True, True),
        ({"others_share": 0.5}, False, True),  # a neighbour on another core
        ({"others_share": 0.5}, True, False),
        ({"others_share": 0.06}, True, True),  # all of it, taken from one arm, is 12 %
        ({"stolen_share": 0.2}, False, True),  # as much of the one arm's time as of the other's
        ({"stolen_share": 0.2}, True, False),
        ({"stolen_share": 0.05}, True, True),
        ({"swapped_in": 3}, False, False),
        ({"throttled": 1}, False, False),
    ],
)
def test_claims_are_held_to_the_conditions(told: dict[str, Any], every_core: bool, claimed: bool) -> None:
    found = judged(TWENTY_PERCENT, 0.0, Conditions(3.0, **told), every_core)
    assert found.differs == claimed
    assert (found.withheld is None) == claimed


def test_where_nothing_is_told_nothing_is_withheld() -> None:
    assert judged(TWENTY_PERCENT, 0.0, None, every_core=True).differs


def compared(half_width: float, pairs: int) -> Comparison:
    return Comparison(Interval(1.0, math.exp(-half_width), math.exp(half_width), pairs), True, 0.0)


@pytest.mark.parametrize(
    ("half_width", "pairs", "spent_s", "enough"),
    [
        (0.001, 5, 100.0, False),  # fewer than six say nothing of their own scatter
        (0.009, 6, 1.0, True),
        (0.02, 6, 1.0, False),
        (0.02, 6, 3.7, True),  # another pair would end after the time
    ],
)
def test_pairs_go_on_while_the_interval_is_wide_and_there_is_time(
    half_width: float, pairs: int, spent_s: float, enough: bool
) -> None:
    assert Plan().suffices(compared(half_width, pairs), spent_s, pair_s=0.3) == enough


def scattered(deviation: float) -> Pair:
    """Sixteen blocks each, of which the second arm's scatter by so much."""
    second = np.exp(np.random.default_rng(0).normal(0, deviation, 16)).tolist()
    return Pair([1.0] * 16, second)


def test_pairs_are_longer_where_their_blocks_scatter() -> None:
    plan = Plan(seconds=4.0, pair_s=0.2, half_width=0.01)
    assert plan.length([], 0.0, 0.0) == 0.2, "nothing is known yet"
    assert plan.length([scattered(0.01)], 0.4, 0.15) == 0.2, "six of these tell it to a percent"
    assert plan.length([scattered(0.2)], 0.4, 0.15) == 0.4, "twice as long at most"
    assert plan.length([scattered(0.2)] * 5, 3.9, 0.15) == 0.2, "no less than the least"
    assert Plan(seconds=60.0, pair_s=0.2).length([scattered(0.2)], 0.4, 0.15) == 0.4, "then more pairs tell more"
    assert with_budget(plan, 8, None).length([scattered(0.2)], 0.4, 0.15) == 0.2, (
        "so many pairs were asked for, whatever they tell"
    )
    assert plan.length([scattered(0.2)] * 6, 2.0, 0.15) == 0.2, "there are enough: more than these are short"
