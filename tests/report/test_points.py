"""Differences of quality in points, worked out by hand."""

from __future__ import annotations

import pytest

from thrifty.report.points import is_worse, lost, points, points_meaning, points_text


def test_a_point_of_a_share_is_a_hundredth() -> None:
    assert points("quality/accuracy", -0.0125, 0.5) == pytest.approx(-1.25)
    assert points("quality/accuracy", -0.0125, None) == pytest.approx(-1.25)


def test_a_point_of_anything_else_is_a_percent_of_the_dense_value() -> None:
    assert points("quality/bits_per_byte", 0.1, 4.0) == pytest.approx(2.5)
    assert points("quality/bits_per_byte", 0.1, None) is None
    assert points("quality/bits_per_byte", 0.1, 0.0) is None
    assert points("quality/accuracy", None, 0.5) is None


@pytest.mark.parametrize(
    ("bounds", "text"),
    [((None, None, None), "-"), ((-0.556, None, None), "-0.56"), ((-0.556, -1.77, 0.664), "-0.56 (-1.77 to +0.66)")],
)
def test_points_are_written_with_their_sign(bounds: tuple[float | None, ...], text: str) -> None:
    assert points_text(*bounds) == text


@pytest.mark.parametrize(
    ("name", "low", "high", "worse"),
    [
        ("quality/accuracy", -0.02, -0.01, True),
        ("quality/accuracy", -0.02, 0.0, False),
        ("quality/accuracy", 0.01, 0.02, False),
        ("quality/bits_per_byte", 0.01, 0.02, True),
        ("quality/bits_per_byte", -0.02, -0.01, False),
        ("quality/accuracy", None, -0.01, False),
    ],
)
def test_a_loss_is_beyond_doubt_where_the_whole_interval_is_one(
    name: str, low: float | None, high: float | None, worse: bool
) -> None:
    assert is_worse(name, low, high) is worse


def test_what_is_lost_is_positive_whichever_way_is_better() -> None:
    assert (lost("quality/accuracy", -2.0), lost("quality/bits_per_byte", 2.0)) == (2.0, 2.0)


def test_the_meaning_says_which_way_is_worse() -> None:
    assert points_meaning("quality/accuracy") == (
        "points: 100 x the difference of accuracy, compressed minus dense; below 0 is worse."
    )
    assert points_meaning("quality/rmse") == (
        "points: the difference in percent of the dense rmse, compressed minus dense; above 0 is worse."
    )
