"""alpha = alpha0 / (1 + beta * iteration)."""

from __future__ import annotations

from collections.abc import Callable

from thrifty.config.choices.schedules import InverseTime


def build(config: InverseTime, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate alpha0 at a step, counted from 0; it does not depend on `steps`."""
    return lambda step: 1 / (1 + config.beta * step)
