"""The runs of a grid side by side, in the table that fits what they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from thrifty.report.compressed import COMPRESSIONS, is_pruned, method_of
from thrifty.report.compression_table import compression_table
from thrifty.report.listing import comparison_table
from thrifty.report.over_seeds import over_seeds, seeds_table
from thrifty.report.quality_curve import quality_curve


def grid_report(records: Sequence[dict[str, Any]], width: int) -> RenderableType:
    """Compressed models against their dense ones, with a plot where there is a curve to draw; other runs by what they cost.

    Args:
        width: columns of the terminal.
    """
    methods = set(map(method_of, records))
    if len(records) < 2 or len(methods) > 1 or not methods <= set(COMPRESSIONS):
        groups = over_seeds(records)
        table = comparison_table(records, width)
        return (
            Group(table, Text("\nover seeds: mean ± half of the 95% interval", style="dim"), seeds_table(groups))
            if groups
            else table
        )
    parts = compression_table(records, width)
    curve = quality_curve(records, width) if is_pruned(records[0]) else None
    if curve is not None:
        parts += [Text(""), Text(curve, no_wrap=True, overflow="ignore")]
    return Group(*parts)
