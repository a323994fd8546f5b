"""Schedules against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chosen import chosen
from thrifty.config.compose import compose
from thrifty.config.registry import CHOICES, load
from thrifty.errors import BadConfiguration


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


def test_step_falls_at_its_milestones() -> None:
    assert _factors(chosen("schedule=step", milestones=[0.5, 0.75], factor=0.1), 8) == pytest.approx(
        [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert _factors(chosen("schedule=step", milestones=[], factor=0.1), 2) == [1.0, 1.0]


def test_one_cycle_goes_up_and_down_along_cosines() -> None:
    factors = _factors(chosen("schedule=one_cycle", warmup=0.4, initial=0.2, final=0.1), 11)
    up = [0.2 + 0.8 * (1 - math.cos(math.pi * done / 4)) / 2 for done in range(5)]
    down = [0.1 + 0.9 * (1 + math.cos(math.pi * done / 6)) / 2 for done in range(7)]
    assert factors == pytest.approx(up + down[1:])
    assert (factors[0], factors[4], factors[-1]) == pytest.approx((0.2, 1.0, 0.1))


def test_warmup_stable_decay_stays_at_the_peak_and_falls_by_a_root() -> None:
    factors = _factors(chosen("schedule=warmup_stable_decay", warmup=0.2, decay=0.4, final=0.1), 10)
    assert factors[:6] == pytest.approx([0.5, 1, 1, 1, 1, 1])
    # Four steps of falling: after the first a quarter is done, whose root is a half.
    assert factors[6:] == pytest.approx([1 - 0.9 * math.sqrt(done / 4) for done in (1, 2, 3, 4)])
    assert factors[6] == pytest.approx(0.55)
    flat = _factors(chosen("schedule=warmup_stable_decay", warmup=0.0, decay=0.0, final=0.1), 3)
    assert flat == [1.0, 1.0, 1.0]


def test_warmup_and_decay_are_not_more_than_the_run() -> None:
    with pytest.raises(BadConfiguration, match=r"warmup=0.6 and schedule.decay=0.5: are more than the whole run"):
        compose(["schedule=warmup_stable_decay", "schedule.warmup=0.6", "schedule.decay=0.5"])
