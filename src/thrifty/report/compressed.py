"""What the record of a compression tells of its model beside the dense one."""

from __future__ import annotations

from typing import Any

from thrifty.config.registry import CHOICES
from thrifty.report.listing import written_at

COMPRESSIONS = {"prune": "pruned", "quantize": "quantised", "prune_quantize": "pruned and quantised", "optimize": "optimised"}
"""Methods that begin with a dense model, and what their result is called."""


def method_of(record: dict[str, Any]) -> str:
    """The run's method, by name."""
    return written_at(record, "method")


def is_pruned(record: dict[str, Any]) -> bool:
    """Whether the run was one of method=prune."""
    return method_of(record) == "prune"


def is_quantised(record: dict[str, Any]) -> bool:
    """Whether the run's model was quantised."""
    return written_at(record, "quantizer") != "null"


def deciding_metric(record: dict[str, Any]) -> str:
    """The name of the metric that decides on quality."""
    return f"quality/{record['data'].get('deciding')}"


def metric_value(record: dict[str, Any], name: str) -> float | None:
    """A metric's value; None where it is missing."""
    return record["metrics"].get(name, {}).get("value")


def compared(record: dict[str, Any], name: str) -> dict[str, Any]:
    """The row of the waterfall that compares a metric with the dense model's; empty where there is none."""
    return next((one for one in record.get("waterfall") or [] if one["metric"] == name), {})


def is_physical(record: dict[str, Any]) -> bool:
    """Whether units are gone from the model; otherwise its weights are masked: zero, and in their place."""
    row = compared(record, "size/parameters")
    if row:
        return row["compressed"] < row["dense"]
    choice = CHOICES["pruner"].get(written_at(record, "pruner"))
    return getattr(choice.schema, "PHYSICAL", False) if choice else False
