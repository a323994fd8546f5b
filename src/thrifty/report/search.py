"""What sparsity=auto tried, and what it found."""

from __future__ import annotations

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.report.compressed import deciding_metric

_ALLOWED = 0.5
"""Points that max_quality_loss=null stands for."""


def search_report(record: dict[str, Any]) -> list[RenderableType]:
    """The evaluations in their order, each with its verdict; nothing where the record has no search."""
    found: list[dict[str, Any]] = record.get("search") or []
    if not found:
        return []
    given = record["config"].get("max_quality_loss")
    allowed = _ALLOWED if given is None else given
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("sparsity", "points lost", "95% interval", "examples", "verdict"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right", no_wrap=True)
    for one in found:
        verdict = _verdict(one, allowed)
        style = {"within": "green", "over": "red"}.get(verdict, "yellow")
        table.add_row(
            f"{one['sparsity']:.4g}",
            f"{round(one['loss'], 2) + 0.0:.2f}",
            _interval(one),
            f"{one['n']:,}",
            Text(verdict, style),
        )
    within = [one["sparsity"] for one in found if one["certified"]]
    likely = [one["sparsity"] for one in found if one["loss"] <= allowed]
    best = f"largest within: sparsity={max(within):.4g}" if within else "none of them is certain to be within"
    if likely:
        best += f"; kept: sparsity={max(likely):.4g}{'' if max(likely) in within else ', which is not certified'}"
    short = deciding_metric(record).removeprefix("quality/")
    return [
        Text(f"Search for the largest sparsity that costs at most {allowed:g} points of {short}", style="bold"),
        table,
        Text(best),
        Text("within: the whole interval is; over: none of it is; cannot certify: too few examples to tell", style="dim"),
    ]


def _verdict(one: dict[str, Any], allowed: float) -> str:
    if one["certified"]:
        return "within"
    return "over" if one["low"] is not None and one["low"] > allowed else "cannot certify"


def _interval(one: dict[str, Any]) -> str:
    return "-" if one["low"] is None or one["high"] is None else f"{one['low']:.2f} to {one['high']:.2f}"
