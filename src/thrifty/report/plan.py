"""How long a run was meant to be, and how long a full one would take, told from its record."""

from __future__ import annotations

import math
from typing import Any

from thrifty.config.compose import compose
from thrifty.errors import ThriftyError


def without(overrides: list[str], *names: str) -> list[str]:
    """Overrides less those of the keys named, and of what belongs to them (`budget`: `budget.steps` too)."""
    return [one for one in overrides if not any(f"{_key(one)}.".startswith(f"{name}.") for name in names)]


def planned_steps(record: dict[str, Any]) -> int | None:
    """Optimiser steps that the run's budget comes to; None where its data was never read."""
    budget = record["config"]["budget"]
    return _steps(record, budget["steps"], budget["epochs"])


def full_seconds(record: dict[str, Any]) -> float | None:
    """Training time with budget=full at the speed the record shows; None where it cannot be told."""
    try:
        budget = compose([*without(record["overrides"], "budget"), "budget=full"]).budget
    except ThriftyError:
        return None
    steps, step = _steps(record, budget.steps, budget.epochs), step_seconds(record)
    return None if steps is None or step is None else steps * step


def step_seconds(record: dict[str, Any]) -> float | None:
    """Time of an optimiser step, or of the first where there was no other."""
    metrics = record["metrics"]
    later, first = metrics.get("train/step_ms", {}).get("value"), metrics.get("train/first_step_s", {}).get("value")
    return first if later is None else later / 1e3


def _steps(record: dict[str, Any], steps: int | None, epochs: float | None) -> int | None:
    if steps is not None:
        return steps
    data = record["data"]
    if "batch_size" not in data:
        return None
    return max(1, math.ceil((epochs or 1) * data["examples"]["train"] / data["batch_size"]))


def _key(override: str) -> str:
    return override.split("=")[0].lstrip("+~")
