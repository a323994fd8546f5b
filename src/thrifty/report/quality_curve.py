"""Quality against the share of weights that are gone, drawn in text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from thrifty.metrics import declared
from thrifty.report.compressed import compared, deciding_metric, metric_value
from thrifty.report.listing import differing, written_at
from thrifty.report.numbers import metric_text

_MARKERS = "ox+#@*%&=$" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""One a curve: they must be told apart without colours."""
_WIDEST = 100
_TICKS = 10
Curves = dict[str, list[tuple[float, float]]]
"""Points of each curve, by what its runs share."""


def quality_curve(records: Sequence[dict[str, Any]], width: int, height: int = 18) -> str | None:
    """A plot of the finished runs, a curve for each pruner and whatever else differs, beside the dense models' quality.

    Args:
        width: columns of the terminal.

    Returns:
        Lines without colours; None where there are fewer than two shares to draw, several metrics that decide, or more
        curves than there are markers.
    """
    finished = [one for one in records if one["status"] == "ok"]
    names = {deciding_metric(one) for one in finished}
    curves = _curves(finished)
    shares = {x for curve in curves.values() for x, _ in curve}
    if len(names) != 1 or len(shares) < 2 or len(curves) > len(_MARKERS):
        return None
    name = names.pop()
    dense = {row["dense"] for one in finished if (row := compared(one, name)) and row["dense"] is not None}
    plot = _drawn(curves, sorted(_scale(name) * one for one in dense), _axis_title(name), min(width, _WIDEST), height)
    legend = [f"{marker} {label}" for label, marker in zip(curves, _MARKERS, strict=False)]
    if dense:
        legend.append(f"┈ dense: {', '.join(metric_text(name, {'value': one}) for one in sorted(dense))}")
    return "\n".join([*plot, *_folded(legend, width)])


def _curves(records: Sequence[dict[str, Any]]) -> Curves:
    """By share, one beside the other as they come."""
    keys = [key for key in differing(records) if key not in ("pruner", "sparsity")] if len(records) > 1 else []
    found: Curves = {}
    for one in records:
        share, quality = metric_value(one, "compress/sparsity"), metric_value(one, deciding_metric(one))
        if share is None or quality is None:
            continue
        others = [f"{key}={written_at(one, key)}" for key in keys if written_at(one, key) != "null"]
        label = " ".join([written_at(one, "pruner"), *others])
        found.setdefault(label, []).append((100 * share, _scale(deciding_metric(one)) * quality))
    return {label: sorted(curve) for label, curve in found.items()}


def _scale(name: str) -> float:
    metric = declared(name)
    return 100.0 if metric is not None and metric.fraction else 1.0


def _axis_title(name: str) -> str:
    metric, short = declared(name), name.removeprefix("quality/")
    unit = "%" if _scale(name) == 100 else "" if metric is None else metric.unit
    return f"{short}, {unit}" if unit else short


def _drawn(curves: Curves, dense: list[float], quality: str, width: int, height: int) -> list[str]:
    import plotext

    figure = plotext.figure  # the only one there is: what others drew is cleared, and what we draw after it
    try:
        plotext.terminal.limit(False, False)
        figure.clear()
        figure.theme("colorless")
        figure.plot_size(width, height)
        for curve in curves.values():
            figure.draw(figure.signal(*zip(*curve, strict=True), marker="·").lines(True))
        for one in dense:
            figure.line(one, style="dotted")
        for curve, marker in zip(curves.values(), _MARKERS, strict=False):
            figure.draw(figure.signal(*zip(*curve, strict=True), marker=marker))
        low, high = _range([y for curve in curves.values() for _, y in curve] + dense)
        figure.ruler("y").lim(low, high)
        ticks = _round_shares([x for curve in curves.values() for x, _ in curve])
        figure.ruler("x").lim(ticks[0], ticks[-1])
        figure.ruler("x").ticks(ticks, [f"{one}" for one in ticks])
        figure.title("Quality against the share of weights gone")
        figure.label("weights gone, %", "x")
        figure.label(quality, "y")
        return [line.rstrip() for line in figure.build().string(colorless=True).splitlines()]
    finally:
        figure.clear()
        plotext.terminal.limit()


def _range(values: list[float]) -> tuple[float, float]:
    """From the least to the greatest, with a margin so that no point lies on the frame."""
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _round_shares(shares: list[float]) -> list[int]:
    """Whole percents around the shares, a tenth of the way apart."""
    low, high = _TICKS * math.floor(min(shares) / _TICKS), _TICKS * math.ceil(max(shares) / _TICKS)
    step = 1 if high - low <= _TICKS else 2 if high - low <= 2 * _TICKS else 5 if high - low <= 5 * _TICKS else _TICKS
    return [*range(low, high + 1, step)]


def _folded(parts: list[str], width: int) -> list[str]:
    """Parts side by side in lines of that width, none of them torn apart."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return lines
