"""The hypervolume by which a search is held against a grid: by hand, and against a count of small cubes."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from _hypervolume import Point, hypervolume


@pytest.mark.parametrize(
    ("points", "reference", "volume"),
    [
        ([], (1.0, 1.0), 0),
        ([(2.0,), (0.5,)], (3.0,), 2.5),
        ([(1.0, 1.0)], (3.0, 4.0), 6),
        ([(1.0, 2.0), (2.0, 1.0)], (3.0, 3.0), 3),
        ([(1.0, 2.0), (2.0, 1.0), (2.0, 2.0), (1.0, 2.0), (5.0, 0.0)], (3.0, 3.0), 3),
        ([(0.0, 0.0, 0.0)], (1.0, 2.0, 3.0), 6),
        ([(0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)], (2.0, 2.0, 2.0), 4),
    ],
)
def test_by_hand(points: list[Point], reference: Point, volume: float) -> None:
    assert hypervolume(points, reference) == pytest.approx(volume)


def test_against_a_count_of_cubes() -> None:
    points = [tuple(map(float, one)) for one in np.random.default_rng(0).integers(0, 8, size=(12, 3))]
    cubes = itertools.product(range(8), repeat=3)
    dominated = sum(any(all(p <= c for p, c in zip(point, cube, strict=True)) for point in points) for cube in cubes)
    assert hypervolume(points, (8.0, 8.0, 8.0)) == dominated
