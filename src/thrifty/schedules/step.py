"""The peak, multiplied by a factor at each of a few moments. Source: He et al., "Deep Residual Learning", 2015."""

from __future__ import annotations

from collections.abc import Callable

from thrifty.config.choices.schedules import Step


def build(config: Step, steps: int) -> Callable[[int], float]:
    """Factor on the peak learning rate at a step, counted from 0; of `steps` in all.

    It falls at the step that begins after the milestone's share of the run; the first step is at the peak.
    """
    falls = [max(1, round(share * steps)) for share in config.milestones]
    return lambda step: config.factor ** sum(step >= one for one in falls)
