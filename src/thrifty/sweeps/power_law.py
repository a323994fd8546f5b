"""A power law through what models of several sizes came to.

Sources: Kaplan et al., "Scaling Laws for Neural Language Models", 2020; under equal compute: Hoffmann et al., "Training Compute-Optimal
Large Language Models", 2022, whose isoFLOP profiles are what a ladder of sizes under one `budget.flops` draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thrifty.measure.statistics import Interval

LEAST_POINTS = 3
"""Two points lie on a line whatever they are: nothing would be known of how certain it is."""


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x ** exponent."""

    factor: float
    exponent: Interval
    """95% by Student's t, of the residuals of the logarithms, which are taken for independent and of one size."""


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw | None:
    """The least squares fit of log y to log x; None of fewer than three points, of one x only, or of values that have no logarithm."""
    from scipy import stats

    from thrifty.measure.statistics import Interval

    if len(x) < LEAST_POINTS or len(set(x)) < 2 or min((*x, *y)) <= 0:
        return None
    fit: Any = stats.linregress([math.log(one) for one in x], [math.log(one) for one in y])
    half = float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr)
    return PowerLaw(
        math.exp(fit.intercept), Interval(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half, len(x))
    )


@dataclass(frozen=True)
class Ladder:
    """What models of several sizes came to with the same compute."""

    flops: float
    """Of each training, as budget.flops asked for it."""
    points: list[tuple[float, float]]
    """(parameters, value) of every run, the smallest model first."""
    law: PowerLaw | None
    """Of the value over the parameters."""

    @property
    def best(self) -> tuple[float, float]:
        """Parameters and value of the size with the lowest mean over its runs."""
        values: dict[float, list[float]] = {}
        for parameters, value in self.points:
            values.setdefault(parameters, []).append(value)
        means = {parameters: math.fsum(one) / len(one) for parameters, one in values.items()}
        return min(means.items(), key=lambda one: one[1])


@dataclass(frozen=True)
class Scaling:
    """Ladders of sizes, and over them the best value that compute buys."""

    ladders: list[Ladder]
    of_compute: PowerLaw | None
    """Of the best size's value over the compute."""
    best_size: PowerLaw | None
    """Of the best size's parameters over the compute."""


def scaling(records: Sequence[dict[str, Any]], metric: str) -> Scaling | None:
    """What the runs with a budget in operations say of a metric that is to be small; None where no ladder has three sizes.

    Runs that met their time cap are left out: they had less compute.
    """
    by_flops: dict[float, list[tuple[float, float]]] = {}
    for record in records:
        flops = record["config"]["budget"].get("flops")
        found = [record["metrics"].get(name, {}).get("value") for name in ("size/parameters", metric)]
        if flops is None or None in found or record["status"] != "ok" or "budget_reached" in record["flags"]:
            continue
        by_flops.setdefault(flops, []).append((found[0], found[1]))
    ladders = [
        Ladder(flops, sorted(points), power_law([one for one, _ in points], [one for _, one in points]))
        for flops, points in sorted(by_flops.items())
        if len({one for one, _ in points}) >= LEAST_POINTS
    ]
    if not ladders:
        return None
    compute, best = [one.flops for one in ladders], [one.best for one in ladders]
    return Scaling(
        ladders, power_law(compute, [value for _, value in best]), power_law(compute, [parameters for parameters, _ in best])
    )
