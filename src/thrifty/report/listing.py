"""Many records, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from thrifty.errors import BadConfiguration, nearest
from thrifty.report.numbers import metric_text
from thrifty.report.plan import key_of

_COLUMNS = {"train/time_s": "training", "infer/latency_ms": "latency", "size/file_mib": "file", "train/peak_host_mib": "memory"}
_WELL_KNOWN = (
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
_NOT_TELLING = ("store", "name", "tags", "logger", "measure")
"""Keys that do not change what a run does."""
_NOTHING_DIFFERS = ("task", "model", "optimizer")
"""Shown where the configurations are the same."""
_CUT_SHORT = "* training met its time cap, and the quality is that of a model cut short: budget=full trains to the end"
_IMPLIED = {
    "architecture": ("task",),
    "optimizer": ("task",),
    "optimizer.lr": ("optimizer", "architecture", "model"),
    "batch_size": ("task", "architecture", "model"),
}
"""Keys that follow from others unless told."""
_FIELDS = ("status", "id", "seed", "reason")


def value_at(record: dict[str, Any], key: str) -> Any:
    """What a record holds under a key: of the configuration (`optimizer`, `optimizer.lr`), `status`, `id`, or a metric.

    Raises:
        KeyError: nothing.
    """
    if key in record["metrics"]:
        return record["metrics"][key]["value"]
    if key in _FIELDS:
        return record[key]
    node: Any = record["config"]
    for part in key.split("."):
        node = node[part]
    return node["name"] if isinstance(node, dict) and "name" in node else node


def chosen(records: Sequence[dict[str, Any]], filters: Sequence[str]) -> list[dict[str, Any]]:
    """The records that meet every `key=value`.

    Raises:
        BadConfiguration: a filter that is not key=value, or a key that none of the records has.
    """
    keys = {key for record in records for key in (*_keys(record["config"]), *record["metrics"], *_FIELDS)}
    for text in filters:
        key, equals, _ = text.partition("=")
        if not equals:
            raise BadConfiguration(f"{text}: is not a filter; write key=value, such as optimizer=adam or status=ok")
        if records and key not in keys:
            raise BadConfiguration(f"{key}: no run here has such a key or metric{nearest(key, keys)}; see `thrifty keys`")
    return [record for record in records if matches(record, filters)]


def _keys(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")


def matches(record: dict[str, Any], filters: Sequence[str]) -> bool:
    """Whether a record meets every `key=value`; several values may be given with commas."""
    for text in filters:
        key, _, wanted = text.partition("=")
        try:
            value = value_at(record, key)
        except (KeyError, TypeError):
            return False
        given = [_as_written(one) for one in value] if isinstance(value, list) else [_as_written(value)]
        if not any(one in given or _same_number(one, value) for one in wanted.split(",")):
            return False
    return True


def _as_written(value: Any) -> str:
    """A value as a configuration spells it."""
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def _same_number(text: str, value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and float(text) == float(value)
    except ValueError:
        return False


def comparison_table(records: Sequence[dict[str, Any]], width: int) -> Table:
    """Records side by side: what differs between them, how good they are, what they cost.

    Args:
        width: columns of the terminal; costs that do not fit are left out, from the last.
    """
    columns: list[tuple[str, list[str]]] = [("run", [record["id"].split("-")[0] for record in records])]
    columns += [(key, [written_at(record, key) for record in records]) for key in differing(records) or _NOTHING_DIFFERS]
    if any(record["status"] != "ok" for record in records):
        columns.append(("status", [record["status"] for record in records]))
    columns.append((quality_heading(records), _marked(records)))
    kept = len(columns)
    columns += [
        (heading, [metric_text(name, record["metrics"].get(name)) for record in records]) for name, heading in _COLUMNS.items()
    ]
    while len(columns) > kept and columns_width(columns) > width:
        columns.pop()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, (heading, _) in enumerate(columns):
        table.add_column(heading, justify="right" if place >= kept - 1 else "left", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*row)
    if any(map(_cut_short, records)):
        table.caption, table.caption_justify = _CUT_SHORT, "left"
    return table


def columns_width(columns: Sequence[tuple[str, list[str]]]) -> int:
    """Characters that columns of a heading and its cells take side by side."""
    return sum(max(map(len, [heading, *cells])) for heading, cells in columns) + 2 * (len(columns) - 1)


def _marked(records: Sequence[dict[str, Any]]) -> list[str]:
    """Quality, with a mark where it is that of a training that was cut short."""
    marks = [" *" if _cut_short(record) else "  " for record in records]
    return [
        _quality(record) + (mark if any(map(_cut_short, records)) else "") for record, mark in zip(records, marks, strict=True)
    ]


def _cut_short(record: dict[str, Any]) -> bool:
    return "budget_reached" in record["flags"]


def _quality(record: dict[str, Any]) -> str:
    name = f"quality/{record['data'].get('deciding')}"
    return metric_text(name, record["metrics"].get(name))


def quality_heading(records: Sequence[dict[str, Any]]) -> str:
    """The deciding metric, where all records have the same."""
    names = {record["data"].get("deciding") for record in records}
    return names.pop() or "quality" if len(names) == 1 else "quality"


def differing(records: Sequence[dict[str, Any]]) -> list[str]:
    """Keys that tell the records apart: of those every reader knows, and of those that were given."""
    given = (key_of(override) for record in records for override in record["overrides"])
    keys = dict.fromkeys((*_WELL_KNOWN, *(key for key in given if key.split(".")[0] not in _NOT_TELLING)))
    found = [key for key in keys if len({written_at(record, key) for record in records}) > 1]
    return [key for key in found if key not in _IMPLIED or not _follows(key, _IMPLIED[key], records)]


def _follows(key: str, others: Sequence[str], records: Sequence[dict[str, Any]]) -> bool:
    """Whether all records with the same values of the other keys have the same of this."""
    pairs = {(tuple(written_at(record, other) for other in others), written_at(record, key)) for record in records}
    return len(pairs) == len({first for first, _ in pairs})


def written_at(record: dict[str, Any], key: str) -> str:
    """What a record holds under a key, as a configuration spells it; null where it has no such key."""
    try:
        return _as_written(value_at(record, key))
    except (KeyError, TypeError):
        return _as_written(None)
