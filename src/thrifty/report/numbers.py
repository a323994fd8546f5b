"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

from thrifty.metrics import TARGET_UNIT, declared

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_GAP = "quality/gap"
_SPANS = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: float, unit: str) -> str:
    """About four figures, with a prefix where the unit takes one: 1.234 s, 56.78 GFLOP, 302 M."""
    if unit in ("FLOP", "") and abs(value) >= 1e4:
        return _prefixed(value, unit)
    if unit == "s" and 0 < abs(value) < 0.1:
        value, unit = 1e3 * value, "ms"
    whole = float(value).is_integer() or abs(value) >= 999.95
    text = f"{value:,.0f}" if whole else f"{value:.4g}"
    return f"{text}/s" if unit == "1/s" else f"{text} {unit}".rstrip()


def duration(seconds: float) -> str:
    """A rough time: 40 s, 12 min, 3.5 h, 9 days."""
    for length, name in _SPANS:
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {name}" if seconds < 10 * length else f"{seconds / length:.0f} {name}"
    return f"{seconds:.1g} s"


def metric_text(name: str, entry: dict[str, Any] | None, deciding: str | None = None) -> str:
    """A metric's value with its unit; a dash where it is missing.

    Args:
        deciding: the task's deciding metric, whose unit the gap has.
    """
    if entry is None or entry["value"] is None:
        return "-"
    value, metric = entry["value"], declared(f"quality/{deciding}" if name == _GAP else name)
    if metric is None:
        return number(value, "")
    if metric.fraction:
        return f"{100 * value:.2f} {'points' if name == _GAP else '%'}"
    return number(value, "" if metric.unit == TARGET_UNIT else metric.unit)


def interval_text(name: str, entry: dict[str, Any]) -> str:
    """`low to high unit` of a metric, or nothing."""
    if entry.get("low") is None or entry.get("high") is None:
        return ""
    low, high = (metric_text(name, {"value": entry[bound]}) for bound in ("low", "high"))
    ending = low.lstrip("-0123456789.,e")
    return f"{low.removesuffix(ending)} to {high}" if ending and high.endswith(ending) else f"{low} to {high}"


def _prefixed(value: float, unit: str) -> str:
    place = 0
    while abs(value) >= 999.95 and place < len(_PREFIXES) - 1:
        value, place = value / 1e3, place + 1
    return f"{value:.4g} {_PREFIXES[place]}{unit}".rstrip()
