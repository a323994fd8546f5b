"""When weights go: which sparsity is due before which optimiser step, counted from 0."""

from __future__ import annotations

from thrifty.config.choices.methods import Pace

_RAMP = (4, 5)
"""Of the steps in which pace=gradual prunes: the rest is for the weights that stay."""
_MOST_PRUNINGS = 100


def due_steps(pace: Pace, sparsity: float, rounds: int, steps: int) -> dict[int, float]:
    """Sparsity to reach before each of some optimiser steps; ascending in both, the last exactly `sparsity`.

    one_shot: all before the first step. iterative: at the begin of each round, rounds being equally long, so much that each
    leaves the same share of what was left (Han et al., "Learning both Weights and Connections for Efficient Neural Networks",
    2015, prune and train in turn). gradual: along s * (1 - (1 - t/T)^3) (Zhu and Gupta, "To prune, or not to prune", 2017), T being
    four fifths of the steps.

    Args:
        sparsity: 0 to 1.
        rounds: of pace=iterative. Those that begin at the same step, as there are fewer steps than rounds, are one.
        steps: optimiser steps in all.
    """
    match pace:
        case Pace.one_shot:
            return {0: sparsity}
        case Pace.iterative:
            shares = {number: 1 - (1 - sparsity) ** (number / rounds) for number in range(1, rounds)} | {rounds: sparsity}
            return {(number - 1) * steps // rounds: share for number, share in shares.items()}
        case Pace.gradual:
            ramp = steps * _RAMP[0] // _RAMP[1]
            every = max(1, steps // _MOST_PRUNINGS)
            return {step: sparsity * (1 - (1 - step / ramp) ** 3) for step in range(every, ramp, every)} | {ramp: sparsity}


def sparsity_after(pace: Pace, sparsity: float, rounds: int, step: int, steps: int) -> float:
    """Sparsity that is in force in an optimiser step, after what was due before it."""
    return max((share for due, share in due_steps(pace, sparsity, rounds, steps).items() if due <= step), default=0.0)
