"""What method=optimize tried, what became of it, and why it lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.instrument.candidate import Candidate
from thrifty.report.compressed import deciding_metric

_ORDER = ("winner", "baseline", "finalist", "dropped", "beyond the bound", "failed", "unsupported", "not tried")
_STYLES = {"winner": "bold green", "baseline": "bold"}
_OF_CANDIDATE = ("quantizer", "precision", "engine", "threads", "batch_size")
_WHAT = {"latency": "time", "throughput": "time by example", "file": "file", "memory": "memory"}
_NAMED = 3
"""Candidates that share a reason are named up to so many."""


def optimize_report(record: dict[str, Any], width: int) -> list[RenderableType]:
    """The winner first, then all others by how far they got; nothing where the record has no such search.

    Args:
        width: columns of the terminal; where the reasons do not fit beside the numbers, they follow below.
    """
    rows: list[dict[str, Any]] = record.get("optimize") or []
    if not rows:
        return []
    objective = record["config"]["objective"]
    bound, short = record["config"]["max_quality_loss"], deciding_metric(record).removeprefix("quality/")
    ordered = sorted(rows, key=lambda one: (_ORDER.index(one["status"]), one["ratio"] or 0.0))
    looked = [
        one for one in ordered if one["ratio"] is not None or (one["loss"] is not None and one["status"] == "beyond the bound")
    ]
    others = [one for one in ordered if one not in looked]
    cells = [(f"  {name_of(one)}", _ratio(one), _loss(one), one["status"], one["why"]) for one in looked]
    headings = ("", f"{_WHAT[objective]} / dense", "points lost", "", "why")
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    whole = sum(widths) + 2 * (len(widths) - 1) <= width
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(headings if whole else headings[:-1]):
        table.add_column(heading, justify="right" if place in (1, 2) else "left", no_wrap=True)
    for row, one in zip(cells, looked, strict=True):
        table.add_row(*map(Text, row if whole else row[:-1]), style=_STYLES.get(one["status"], ""))
    parts: list[RenderableType] = [
        Text(f"Search for the best {objective} that loses at most {bound:g} points of {short}", style="bold"),
        table,
    ]
    if not whole:
        parts += [Text(f"- {name_of(one)}: {one['why']}", style="dim") for one in looked if one["why"]]
    parts += [Text(line, style="dim") for line in _untried(others)]
    parts.append(
        Text(
            "/ dense: over the dense model as PyTorch runs it; * measured in full, beside it in fresh processes, else in a short look. "
            "Points are those of the validation split; ? cannot certify, the examples are too few. In brackets: 95 % intervals.",
            style="dim",
        )
    )
    return parts


def name_of(row: dict[str, Any]) -> str:
    """A row's candidate, as people read it."""
    return Candidate(**{name: row[name] for name in _OF_CANDIDATE}).name


def _ratio(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return "-"
    mark = " *" if row["in_full"] and row["status"] != "baseline" else "  "
    if row["low"] is None or row["high"] is None:
        return f"{row['ratio']:.3f}{mark}"
    return f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f}){mark}"


def _loss(row: dict[str, Any]) -> str:
    if row["loss"] is None or row["status"] == "baseline":
        return "-"
    if not row["examples"]:
        return "0"
    value = f"{round(row['loss'], 2) + 0.0:.2f}"
    if row["loss_low"] is None or row["loss_high"] is None:
        return value
    span = f"{value} ({row['loss_low']:.2f} to {row['loss_high']:.2f})"
    return span if row["certified"] or row["status"] == "beyond the bound" else f"{span} ?"


def _untried(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each reason, with those that share it."""
    lines = []
    for status, why in dict.fromkeys((one["status"], one["why"]) for one in rows):
        names = [name_of(one) for one in rows if (one["status"], one["why"]) == (status, why)]
        more = "" if len(names) <= _NAMED else f"; and {len(names) - _NAMED} more"
        lines.append(f"- {status}: {'; '.join(names[:_NAMED])}{more}: {why}")
    return lines
