"""Linear warm-up, then half a cosine down. Source: Loshchilov and Hutter, "SGDR", 2017, without restarts."""

from __future__ import annotations

import math
from collections.abc import Callable

from thrifty.config.choices.schedules import Cosine


def build(config: Cosine, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate at a step, counted from 0; of `steps` in all.

    Without warm-up the first step is at the peak; with it, the last step of the warm-up. The last step of all is at
    `config.final`, except in a run of one step, which is at the peak.
    """
    warm = max(1, round(config.warmup * steps)) if config.warmup > 0 else 0
    warm = min(warm, max(1, steps - 1))  # one step must be left to come down in
    peak, last = max(0, warm - 1), steps - 1

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        done = min(1.0, (step - peak) / max(1, last - peak))
        return config.final + (1 - config.final) * (1 + math.cos(math.pi * done)) / 2

    return factor
