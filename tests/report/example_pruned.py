"""Records of pruned models written by hand, each with the waterfall that compares it with its dense model."""

from __future__ import annotations

import io
from typing import Any

from example_record import make_record
from rich.console import Console, Group, RenderableType

from thrifty.metrics import measured
from thrifty.report.terminal import show

DENSE = 0.98


def row(
    metric: str, dense: float, compressed: float, ratio: float | None, low: float | None, high: float | None
) -> dict[str, Any]:
    values = {"dense": dense, "compressed": compressed, "ratio": ratio, "low": low, "high": high}
    return {"metric": metric, **values, "how": "by hand", "why": "by hand"}


def make_pruned(
    *overrides: str, gone: float = 0.5, change: float = -0.01, half: float = 0.005, timed: bool = True, **fields: Any
) -> dict[str, Any]:
    """A finished run of method=prune.

    Args:
        change: accuracy minus that of the dense model, known to plus or minus `half`.
        timed: whether latency and throughput were compared.
    """
    physical = any(one.startswith(("pruner=structured", "pruner=layer_drop")) for one in overrides)
    left = 1 - gone if physical else 1.0
    waterfall = [
        row("size/parameters", 1000, 1000 * left, left, None, None),
        row("size/file_mib", 2.0, 2.0 * left, left, None, None),
    ]
    if timed:
        waterfall += [
            row("infer/latency_ms", 4.0, 4.0 * left, left, left - 0.02, left + 0.03),
            row("infer/samples_per_s", 100.0, 100.0 / left, 1 / left, 1 / left - 0.1, 1 / left + 0.1),
        ]
    waterfall.append(row("quality/accuracy", DENSE, DENSE + change, change, change - half, change + half))
    metrics = {
        "compress/sparsity": measured(gone),
        "quality/accuracy": measured(DENSE + change),
        "size/file_mib": measured(2.0 * left),
        "size/file_sparse_mib": measured(2.0 * (1 - gone)),
    }
    record = make_record("method=prune", *overrides, metrics=metrics)
    return record | {"waterfall": waterfall, "parents": ["20260102T030405000Z-dense"]} | fields


def lines_of(parts: list[RenderableType], width: int) -> list[str]:
    """What a file would hold."""
    console = Console(file=io.StringIO(), width=width)
    show(Group(*parts), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()
