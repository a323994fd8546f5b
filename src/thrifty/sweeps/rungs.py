"""Which of many trials go on, where there are several objectives: successive halving by non-dominated rank.

At the rungs, which are a share 1/eta^k of a training, a trial is held against all that have reached the same rung before it. It goes on
unless a share 1/eta of them, itself counted, is better: of a lower non-dominated rank. Nothing waits: a trial is judged by those there
are.

Sources: Schmucker, Donini, Zafar, Salinas and Archambeau, "Multi-objective Asynchronous Successive Halving", 2021 (arXiv:2106.12639),
in the variant that stops trials where theirs promotes them, as Li et al., "A System for Massively Parallel Hyperparameter Tuning",
2020, has both. Ranks are those of Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", 2002. Where a front is
cut they take the part of it that is spread out best; we cut no front: what none dominates is what the search is for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RUNGS = 3
"""The lowest is a share 1/eta^3 of the training."""
_ROUNDING = 1e-9


def rungs(eta: int) -> list[float]:
    """Shares of a training at which trials are compared, the lowest first."""
    return [eta**-power for power in range(RUNGS, 0, -1)]


def passed(share: float, eta: int) -> list[int]:
    """Numbers, from the lowest, of the rungs that a trial has reached with this share of its training."""
    return [number for number, rung in enumerate(rungs(eta)) if share >= rung - _ROUNDING]


def ranks(losses: np.ndarray) -> np.ndarray:
    """Non-dominated rank of each row: 0 of those that no other dominates, 1 of those that are so once these are gone, and so on.

    Args:
        losses: a row for each trial, a column for each objective; less is better.
    """
    no_worse = np.all(losses[:, None, :] <= losses[None, :, :], axis=2)
    dominates = no_worse & ~no_worse.T
    found = np.full(len(losses), -1)
    rank, left = 0, np.ones(len(losses), dtype=bool)
    while left.any():
        front = left & ~dominates[left].any(axis=0)
        found[front], left = rank, left & ~front
        rank += 1
    return found


def goes_on(mine: Sequence[float], others: Sequence[Sequence[float]], eta: int) -> bool:
    """Whether a trial goes on beyond a rung.

    Args:
        mine: its losses there, one for each objective; less is better.
        others: those of the trials that have reached the rung before.
        eta: one in so many goes on.
    """
    found = ranks(np.array([mine, *others], dtype=float))
    better = int((found < found[0]).sum())
    return better < len(found) / eta
