"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

from thrifty.metrics import METRICS

_BIG = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, unit: str) -> str:
    """Four figures at most, with a prefix where the unit takes one: 1.234 s, 56.78 GFLOP, 302 M."""
    if unit in ("FLOP", "") and abs(value) >= 1e4:
        for scale, prefix in _BIG:
            if abs(value) >= scale:
                return f"{value / scale:.4g} {prefix}{unit}".rstrip()
    if float(value).is_integer() and abs(value) < 1e6:
        text = f"{int(value):,}"
    else:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {unit}".rstrip() if unit not in ("1/s",) else f"{text}/s"


def metric_text(name: str, entry: dict[str, Any] | None) -> str:
    """A metric's value with its unit; a dash where it is missing."""
    if entry is None or entry["value"] is None:
        return "-"
    declared = METRICS.get(name)
    if declared is not None and declared.fraction:
        return f"{100 * entry['value']:.2f} %"
    return number(entry["value"], declared.unit if declared else "")


def interval_text(name: str, entry: dict[str, Any]) -> str:
    """`low to high` of a metric, or nothing."""
    if entry.get("low") is None or entry.get("high") is None:
        return ""
    return f"{metric_text(name, {'value': entry['low']})} to {metric_text(name, {'value': entry['high']})}"
