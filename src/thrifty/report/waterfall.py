"""The waterfall of a compressed model, as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.metrics import metric
from thrifty.report.compressed import COMPRESSIONS, method_of
from thrifty.report.numbers import metric_text

_NAMES = {
    "size/parameters": "parameters",
    "size/nonzero": "not zero",
    "size/memory_mib": "bytes in memory",
    "size/file_mib": "file, safetensors",
    "size/file_zstd_mib": "file, with zstd",
    "size/file_sparse_mib": "file, sparse",
    "infer/load_s": "time to load",
    "infer/peak_host_mib": "peak memory",
    "infer/nonzero_flops_per_sample": "operations counted",
    "infer/flops_per_sample": "operations executed",
    "infer/latency_ms": "latency",
    "infer/samples_per_s": "throughput",
}


def waterfall_table(record: dict[str, Any], width: int) -> list[RenderableType]:
    """What became of the saving, a line a step; nothing where the record has no waterfall.

    Args:
        width: columns of the terminal; where the reasons do not fit beside the numbers, they follow below.
    """
    steps: list[dict[str, Any]] = record.get("waterfall") or []
    if not steps:
        return []
    rows = [(_name(one), *_values(one), _ratio(one), one["why"]) for one in steps]
    made = COMPRESSIONS.get(method_of(record), "compressed")
    headings = ("", "dense", made, "ratio", "what became of the saving")
    widths = [max(len(one) for one in column) for column in zip(headings, *rows, strict=True)]
    whole = sum(widths) + 2 * (len(widths) - 1) <= width
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(headings if whole else headings[:-1]):
        table.add_column(heading, justify="left" if place in (0, 4) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row if whole else row[:-1]))
    parts: list[RenderableType] = [Text(f"Where the saving went (dense against {made})", style="bold"), table]
    if not whole:
        parts.append(Group(*(Text(f"- {name.strip()}: {reason}", style="dim") for name, *_, reason in rows)))
    return parts


def _name(step: dict[str, Any]) -> str:
    name: str = step["metric"]
    return "  " + _NAMES.get(name, name.removeprefix("quality/"))


def _values(step: dict[str, Any]) -> tuple[str, str]:
    dense, pruned = (metric_text(step["metric"], {"value": step[which]}) for which in ("dense", "compressed"))
    return dense, pruned


def _ratio(step: dict[str, Any]) -> str:
    if step["ratio"] is None:
        return "-"
    if step["metric"].startswith("quality/"):
        fraction = metric(step["metric"]).fraction
        return f"{100 * step['ratio']:+.2f} points" if fraction else f"{step['ratio']:+.4f}"
    if step["low"] is None or step["high"] is None:
        return f"{step['ratio']:.3f}"
    return f"{step['ratio']:.3f} ({step['low']:.3f} to {step['high']:.3f})"
