"""Linear warm-up, the peak, and a fall at the end by one minus the root of what is done of it.

Sources: Hu et al., "MiniCPM", 2024; Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
2024, for the shape of the fall.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from thrifty.config.choices.schedules import WarmupStableDecay


def build(config: WarmupStableDecay, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate at a step, counted from 0; of `steps` in all.

    The last step of the warm-up is at the peak, the last of all at `config.final` where there is a fall, except in a run of one
    step, which is at the peak.
    """
    warm = max(1, round(config.warmup * steps)) if config.warmup > 0 else 0
    warm = min(warm, max(1, steps - 1))
    falling = min(round(config.decay * steps), steps - max(1, warm))
    if config.decay > 0 and steps > 1:
        falling = max(1, falling)
    stable_until = steps - 1 - falling  # the last step at the peak

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if step <= stable_until or not falling:
            return 1.0
        done = min(1.0, (step - stable_until) / falling)
        return 1 - (1 - config.final) * math.sqrt(done)

    return factor
