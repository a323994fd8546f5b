"""How long a run was meant to be, and how long a full one would take, told from its record."""

from __future__ import annotations

from typing import Any

from thrifty.config.choice import choice_of
from thrifty.config.choices.budgets import Budget
from thrifty.config.compose import compose
from thrifty.errors import ThriftyError


def without(overrides: list[str], *names: str) -> list[str]:
    """Overrides less those of the keys named, and of what belongs to them (`budget`: `budget.steps` too)."""
    return [one for one in overrides if not any(f"{key_of(one)}.".startswith(f"{name}.") for name in names)]


def planned_steps(record: dict[str, Any]) -> int | None:
    """Optimiser steps that the run's budget comes to; None where its data was never read."""
    return _steps(record, choice_of("budget", record["config"]["budget"]))


def full_seconds(record: dict[str, Any]) -> float | None:
    """Training time with budget=full at the speed the record shows; None where it cannot be told."""
    try:
        budget = compose([*without(record["overrides"], "budget"), "budget=full"]).budget
    except ThriftyError:
        return None
    steps, step = _steps(record, budget), step_seconds(record)
    return None if steps is None or step is None else steps * step


def step_seconds(record: dict[str, Any]) -> float | None:
    """Time of an optimiser step, or of the first where there was no other."""
    metrics = record["metrics"]
    later, first = metrics.get("train/step_ms", {}).get("value"), metrics.get("train/first_step_s", {}).get("value")
    return first if later is None else later / 1e3


def key_of(override: str) -> str:
    """The key that an override of a record sets."""
    return override.split("=")[0].lstrip("+~")


def _steps(record: dict[str, Any], budget: Budget) -> int | None:
    data = record["data"]
    if "batch_size" not in data:  # the data was never read
        return budget.steps
    if budget.flops is not None:
        return data.get("steps")
    return budget.steps_for(data["examples"]["train"], data["batch_size"])
