"""Many records, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from thrifty.errors import BadConfiguration
from thrifty.report.numbers import metric_text

_COLUMNS = {"train/time_s": "training", "infer/latency_ms": "latency", "size/file_mib": "file", "train/peak_host_mib": "memory"}


def value_at(record: dict[str, Any], key: str) -> Any:
    """What a record holds under a key: of the configuration (`optimizer`, `optimizer.lr`), `status`, `id`, or a metric.

    Raises:
        KeyError: nothing.
    """
    if key in record["metrics"]:
        return record["metrics"][key]["value"]
    if key in ("status", "id", "seed", "reason"):
        return record[key]
    node: Any = record["config"]
    for part in key.split("."):
        node = node[part]
    return node["name"] if isinstance(node, dict) and "name" in node else node


def matches(record: dict[str, Any], filters: Sequence[str]) -> bool:
    """Whether a record meets every `key=value`; several values may be given with commas.

    Raises:
        BadConfiguration: a filter that is not key=value.
    """
    for key, wanted in map(split_filter, filters):
        try:
            value = value_at(record, key)
        except (KeyError, TypeError):
            return False
        given = [_as_written(one) for one in value] if isinstance(value, list) else [_as_written(value)]
        if not any(one in given or _same_number(one, value) for one in wanted.split(",")):
            return False
    return True


def split_filter(text: str) -> tuple[str, str]:
    """Key and value of a filter.

    Raises:
        BadConfiguration: it is not key=value.
    """
    key, equals, wanted = text.partition("=")
    if not equals:
        raise BadConfiguration(f"{text}: is not a filter; write key=value, such as optimizer=adam or status=ok")
    return key, wanted


def _as_written(value: Any) -> str:
    """A value as it is written on the command line: null, true and false as Hydra has them."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same_number(text: str, value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and float(text) == float(value)
    except ValueError:
        return False


def comparison_table(records: Sequence[dict[str, Any]], width: int) -> Table:
    """Records side by side: what differs between them, how good they are, what they cost.

    Args:
        width: columns of the terminal; costs that do not fit are left out, from the last.
    """
    columns: list[tuple[str, list[str]]] = [("run", [record["id"].split("-")[0] for record in records])]
    columns += [(key, [str(value_at(record, key)) for record in records]) for key in _differing(records)]
    if any(record["status"] != "ok" for record in records):
        columns.append(("status", [record["status"] for record in records]))
    columns.append((_quality_heading(records), [_quality(record) for record in records]))
    kept = len(columns)
    columns += [
        (heading, [metric_text(name, record["metrics"].get(name)) for record in records]) for name, heading in _COLUMNS.items()
    ]
    while len(columns) > kept and sum(max(map(len, [heading, *cells])) + 2 for heading, cells in columns) > width:
        columns.pop()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, (heading, _) in enumerate(columns):
        table.add_column(heading, justify="right" if place >= kept - 1 else "left", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    return table


def _quality(record: dict[str, Any]) -> str:
    name = f"quality/{record['data'].get('deciding')}"
    return metric_text(name, record["metrics"].get(name))


def _quality_heading(records: Sequence[dict[str, Any]]) -> str:
    names = {record["data"].get("deciding") for record in records}
    return names.pop() or "quality" if len(names) == 1 else "quality"


def _differing(records: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that tell the records apart, of those a reader knows."""
    keys = (
        "task",
        "architecture",
        "model",
        "method",
        "optimizer",
        "optimizer.lr",
        "schedule",
        "batch_size",
        "precision",
        "seed",
    )
    found = [key for key in keys if len({str(value_at(record, key)) for record in records}) > 1]
    # These two follow from the others, unless they are all that differs.
    implied = {"architecture": "task", "optimizer.lr": "optimizer"}
    found = [key for key in found if implied.get(key) not in found]
    return found or ["task", "model", "optimizer"]
