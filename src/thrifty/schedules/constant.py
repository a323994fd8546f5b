"""The peak learning rate throughout."""

from __future__ import annotations

from collections.abc import Callable

from thrifty.config.choices.schedules import Schedule


def build(config: Schedule, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate at a step, counted from 0; of `steps` in all."""
    return lambda step: 1.0
