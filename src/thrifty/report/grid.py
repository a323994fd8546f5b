"""The runs of a grid side by side, in the table that fits what they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from thrifty.report.listing import comparison_table
from thrifty.report.pruned import is_pruned
from thrifty.report.pruning_table import pruning_table
from thrifty.report.quality_curve import quality_curve


def grid_report(records: Sequence[dict[str, Any]], width: int) -> RenderableType:
    """Pruned models against their dense ones, with a plot where there is a curve to draw; other runs by what they cost.

    Args:
        width: columns of the terminal.
    """
    if len(records) < 2 or not all(map(is_pruned, records)):
        return comparison_table(records, width)
    parts = pruning_table(records, width)
    curve = quality_curve(records, width)
    if curve is not None:
        parts += [Text(""), Text(curve, no_wrap=True, overflow="ignore")]
    return Group(*parts)
