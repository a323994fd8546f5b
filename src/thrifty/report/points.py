"""Differences of quality in points, whatever the metric."""

from __future__ import annotations

from thrifty.metrics import declared


def points(name: str, difference: float | None, dense: float | None) -> float | None:
    """A difference of a metric in points: hundredths of a share, percent of the dense model's value of anything else."""
    if difference is None:
        return None
    if _is_fraction(name):
        return 100 * difference
    return 100 * difference / abs(dense) if dense else None


def points_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """`-0.56 (-1.77 to +0.66)`; a dash where there is no value."""
    if value is None:
        return "-"
    return f"{value:+.2f}" if low is None or high is None else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def points_meaning(name: str) -> str:
    """What a point of a metric is and which way is worse, in a sentence."""
    short = name.removeprefix("quality/")
    what = f"100 x the difference of {short}" if _is_fraction(name) else f"the difference in percent of the dense {short}"
    return f"points: {what}, compressed minus dense; {'above' if _lower_is_better(name) else 'below'} 0 is worse."


def lost(name: str, points_gained: float) -> float:
    """Points lost by a change: what got worse, whichever way that is."""
    return points_gained if _lower_is_better(name) else -points_gained


def is_worse(name: str, low: float | None, high: float | None) -> bool:
    """Whether a difference, compressed minus dense, is a loss beyond doubt: its whole interval lies on the bad side of zero."""
    if low is None or high is None:
        return False
    return low > 0 if _lower_is_better(name) else high < 0


def _is_fraction(name: str) -> bool:
    metric = declared(name)
    return metric is not None and metric.fraction


def _lower_is_better(name: str) -> bool:
    metric = declared(name)
    return metric is not None and metric.better == "lower"
