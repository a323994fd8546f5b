"""Schedules against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chosen import chosen
from thrifty.config.registry import CHOICES, load


def _factors(config: Any, steps: int) -> list[float]:
    factor = load("schedule", config.name)(config, steps)
    return [factor(step) for step in range(steps)]


@pytest.mark.parametrize("name", sorted(CHOICES["schedule"]))
@pytest.mark.parametrize("steps", [1, 2, 3, 19, 400])
def test_every_factor_is_above_0_and_at_most_1(name: str, steps: int) -> None:
    factors = _factors(chosen(f"schedule={name}"), steps)
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1


@pytest.mark.parametrize("name", sorted(CHOICES["schedule"]))
def test_a_step_past_the_end_is_still_answered(name: str) -> None:
    # A sampler may round up, and a run that resumes may look one step ahead.
    factor = load("schedule", name)(chosen(f"schedule={name}"), 10)
    assert 0 < factor(10) <= factor(9)


def test_constant_is_constant() -> None:
    assert _factors(chosen("schedule=constant"), 3) == [1.0, 1.0, 1.0]


def test_inverse_time_is_the_formula() -> None:
    assert _factors(chosen("schedule=inverse_time", beta=0.5), 4) == [1.0, 1 / 1.5, 1 / 2, 1 / 2.5]
    assert _factors(chosen("schedule=inverse_time", beta=0.0), 2) == [1.0, 1.0]
    assert load("schedule", "inverse_time")(chosen("schedule=inverse_time", beta=0.01), 1000)(100) == 0.5


def test_cosine_rises_in_a_line_and_comes_down_to_its_final() -> None:
    factors = _factors(chosen("schedule=cosine", warmup=0.25, final=0.1), 12)
    assert factors[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    # From the peak at step 2 to the end at step 11: nine steps of half a cosine.
    assert factors[2:] == pytest.approx([0.1 + 0.9 * (1 + math.cos(math.pi * done / 9)) / 2 for done in range(10)])
    assert factors[-1] == pytest.approx(0.1)
    assert factors[2:] == sorted(factors[2:], reverse=True)


def test_cosine_without_warmup_starts_at_the_peak() -> None:
    assert _factors(chosen("schedule=cosine", warmup=0.0, final=0.2), 3) == pytest.approx([1.0, 0.6, 0.2])
    assert _factors(chosen("schedule=cosine", warmup=0.0, final=1.0), 3) == [1.0, 1.0, 1.0]
    assert _factors(chosen("schedule=cosine", warmup=0.0, final=0.0), 3) == pytest.approx([1.0, 0.5, 0.0])


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.999])
def test_cosine_works_in_the_shortest_runs(warmup: float) -> None:
    assert _factors(chosen("schedule=cosine", warmup=warmup, final=0.1), 1) == [1.0]
    assert _factors(chosen("schedule=cosine", warmup=warmup, final=0.1), 2) == pytest.approx([1.0, 0.1])


def test_cosine_comes_down_even_after_the_longest_warmup() -> None:
    factors = _factors(chosen("schedule=cosine", warmup=0.999, final=0.1), 100)
    assert factors[-2:] == pytest.approx([1.0, 0.1])
