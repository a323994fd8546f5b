"""Half a cosine up to the peak, half a cosine down to almost nothing. Source: Smith and Topin, "Super-Convergence", 2018.

The momentum, which the paper moves the other way, stays as it is: optimizers differ in what they call so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from thrifty.config.choices.schedules import OneCycle


def build(config: OneCycle, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate at a step, counted from 0; of `steps` in all.

    The first step is at `config.initial`, the last at `config.final`; in a run too short for both, the peak comes first.
    """
    last = steps - 1
    peak = min(round(config.warmup * last), max(0, last - 1))

    def factor(step: int) -> float:
        if step < peak:
            return _between(config.initial, 1.0, step / peak)
        return _between(1.0, config.final, min(1.0, (step - peak) / max(1, last - peak)))

    return factor


def _between(begin: float, end: float, done: float) -> float:
    """From one to the other along half a cosine; `done` from 0 to 1."""
    return end + (begin - end) * (1 + math.cos(math.pi * done)) / 2
