"""Many records, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from thrifty.errors import BadConfiguration
from thrifty.report.numbers import metric_text

_COLUMNS = ("train/time_s", "train/peak_host_mib", "infer/latency_ms", "size/file_mib")


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
    for text in filters:
        key, equals, wanted = text.partition("=")
        if not equals:
            raise BadConfiguration(f"{text}: is not a filter; write key=value, such as optimizer=adam or status=ok")
        try:
            value = value_at(record, key)
        except (KeyError, TypeError):
            return False
        given = [str(one) for one in value] if isinstance(value, list) else [str(value)]
        if not any(one in given or _same_number(one, value) for one in wanted.split(",")):
            return False
    return True


def _same_number(text: str, value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and float(text) == float(value)
    except ValueError:
        return False


def comparison_table(records: Sequence[dict[str, Any]]) -> Table:
    """Records side by side: what differs between them, what they cost, how good they are."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True)
    differing = _differing(records)
    for key in differing:
        table.add_column(key)
    table.add_column("status")
    table.add_column("quality", justify="right", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name.replace("/", "/\n"), justify="right")
    for record in records:
        quality = f"quality/{record['data'].get('deciding')}"
        shown = metric_text(quality, record["metrics"].get(quality))
        label = f"{shown} {record['data'].get('deciding', '')}" if shown != "-" else "-"
        cells = [str(value_at(record, key)) for key in differing]
        costs = [metric_text(name, record["metrics"].get(name)) for name in _COLUMNS]
        table.add_row(record["id"][:19] + "…" + record["id"][-12:], *cells, record["status"], label, *costs)
    return table


def _differing(records: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that tell the records apart, of those a reader knows."""
    keys = ("task", "architecture", "model", "method", "optimizer", "optimizer.lr", "schedule", "batch_size", "precision", "seed")
    found = [key for key in keys if len({str(value_at(record, key)) for record in records}) > 1]
    return [key for key in found if not (key == "optimizer.lr" and "optimizer" in found)] or ["task", "model", "optimizer"]
