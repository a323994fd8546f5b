"""A grid of compressed models, each against its dense one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.report.compressed import compared, deciding_metric, is_physical, is_pruned, is_quantised, method_of, metric_value
from thrifty.report.listing import columns_width, differing, quality_heading, written_at
from thrifty.report.numbers import metric_text
from thrifty.report.points import points, points_meaning, points_text

Column = tuple[str, list[str]]
"""A heading, and a cell a row."""
Rows = list[tuple[bool, dict[str, Any]]]
"""Whether the row is of the dense model, and the record it is told from."""

_NONE = "-"
_ASKED = {
    "prune": ("pruner", "sparsity"),
    "quantize": ("quantizer", "engine"),
    "prune_quantize": ("pruner", "sparsity", "quantizer", "engine"),
    "optimize": ("objective", "quantizer", "engine"),
}
"""What is always told of a method's runs."""
_OF_COMPRESSING = ("method", "pruner", "sparsity", "quantizer", "engine", "max_quality_loss")
"""Keys that say nothing of the dense model."""
_COSTS = ("file", "sparse file", "latency / dense", "throughput / dense", "run")
_WITH_INTERVALS = ("points", "latency / dense", "throughput / dense")
_MOST_TELLING = ("latency / dense", "file", "throughput / dense", "sparse file", "run")
"""In the order in which they get room."""


def compression_table(records: Sequence[dict[str, Any]], width: int) -> list[RenderableType]:
    """A row a run in the order given, the dense models first, and what the columns mean.

    Args:
        records: of one method that compresses, whatever became of them.
        width: columns of the terminal; costs that do not fit are left out, the least telling first.
    """
    reasons = dict.fromkeys(f"{one['reason']}" for one in records if one["status"] != "ok" and one["reason"])
    numbers = {reason: number for number, reason in enumerate(reasons, 1)}
    rows: Rows = [(True, one) for one in _one_per_dense_model(records)] + [(False, one) for one in records]
    told = [*_key_columns(rows, records)]
    if any(one["status"] != "ok" for one in records):
        told.append(("status", [_NONE if dense else _status(one, numbers) for dense, one in rows]))
    left = len(told)
    columns = _fitting(told, rows, quality_heading(records), width)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, (heading, _) in enumerate(columns):
        table.add_column(heading, justify="right" if place >= left else "left", no_wrap=True)
    for (dense, _), *cells in zip(rows, *(cells for _, cells in columns), strict=True):
        table.add_row(*map(Text, cells), style="dim" if dense else "")
    notes = [Text(f"({number}) {reason}", style="yellow") for reason, number in numbers.items()]
    return [table, Text(""), *notes, *(Text(line, style="dim") for line in _legend(records, columns))]


def _fitting(told: list[Column], rows: Rows, quality: str, width: int) -> list[Column]:
    """What tells the runs apart, how good they are, and as many of the costs as there is room for.

    Where latency has none, intervals give way to it: whether anything got faster is what a grid is read for.
    """
    fixed: list[Column] = [
        *told,
        _how_far(rows),
        (quality, [_value(deciding_metric(one), dense, one) for dense, one in rows]),
        ("points", [_NONE if dense else _difference(one) for dense, one in rows]),
    ]
    costs = _cost_columns(rows)
    found = _with_room(fixed, costs, width)
    wanted = {_MOST_TELLING[0]} & {heading for heading, _ in costs}
    if columns_width(found) <= width and wanted <= {heading for heading, _ in found}:
        return found
    return _with_room([*map(_without_intervals, fixed)], [*map(_without_intervals, costs)], width)


def _how_far(rows: Rows) -> Column:
    if is_quantised(rows[-1][1]):
        return "converted", [_NONE if dense else _converted(one) for dense, one in rows]
    return "gone", ["0.0 %" if dense else _gone(one) for dense, one in rows]


def _converted(record: dict[str, Any]) -> str:
    found = record["metrics"].get("size/converted_modules", {})
    return _NONE if found.get("value") is None else f"{found['value']} of {found['n']}"


def _with_room(fixed: list[Column], costs: list[Column], width: int) -> list[Column]:
    taken: list[Column] = []
    for heading in _MOST_TELLING:
        further = [one for one in costs if one[0] == heading]
        if columns_width([*fixed, *taken, *further]) <= width:
            taken += further
    return [*fixed, *(one for one in costs if one in taken)]


def _without_intervals(column: Column) -> Column:
    heading, cells = column
    return heading, [cell.split(" (")[0] for cell in cells] if heading in _WITH_INTERVALS else cells


def _one_per_dense_model(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each dense model the first record that was compared with it."""
    found = {_dense_model(one): one for one in reversed(records) if compared(one, deciding_metric(one))}
    order = dict.fromkeys(map(_dense_model, records))
    return [found[one] for one in order if one in found]


def _dense_model(record: dict[str, Any]) -> str | None:
    """The run that a compression is held against: of one in two steps that before the first."""
    return record["parents"][-1] if record["parents"] else None


def _key_columns(rows: Rows, records: Sequence[dict[str, Any]]) -> Iterator[Column]:
    asked = _ASKED[method_of(records[0])]
    keys = [*asked, *(key for key in differing(records) if key not in asked)]
    for place, key in enumerate(keys):
        cells = [_of_dense(key, one, records) if dense else _given(one, key) for dense, one in rows]
        if place == 0:
            cells = ["dense" if dense else cell for (dense, _), cell in zip(rows, cells, strict=True)]
        yield key, cells


def _given(record: dict[str, Any], key: str) -> str:
    """A key's value; a dash also where the run's pruner has no such key."""
    text = written_at(record, key)
    return _NONE if text == "null" else text


def _of_dense(key: str, record: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """What all runs of a dense model share under a key, and it with them."""
    values = {_given(one, key) for one in records if _dense_model(one) == _dense_model(record)}
    return _NONE if key.split(".")[0] in _OF_COMPRESSING or len(values) > 1 else values.pop()


def _status(record: dict[str, Any], numbers: dict[str, int]) -> str:
    number = numbers.get(f"{record['reason']}")
    return record["status"] if record["status"] == "ok" or number is None else f"{record['status']} ({number})"


def _gone(record: dict[str, Any]) -> str:
    share = metric_value(record, "compress/sparsity")
    return _NONE if share is None else f"{100 * share:.1f} %"


def _value(name: str, dense: bool, record: dict[str, Any]) -> str:
    return metric_text(name, {"value": compared(record, name).get("dense")} if dense else record["metrics"].get(name))


def _difference(record: dict[str, Any]) -> str:
    name = deciding_metric(record)
    row = compared(record, name)
    return points_text(*(points(name, row.get(one), row.get("dense")) for one in ("ratio", "low", "high")))


def _cost_columns(rows: Rows) -> list[Column]:
    """Those that some run has."""
    found = [[*_costs(dense, one)] for dense, one in rows]
    columns = [(heading, [*cells]) for heading, cells in zip(_COSTS, zip(*found, strict=True), strict=True)]
    return [
        (heading, cells)
        for heading, cells in columns
        if any(cell != _NONE for (dense, _), cell in zip(rows, cells, strict=True) if not dense)
    ]


def _costs(dense: bool, record: dict[str, Any]) -> Iterator[str]:
    yield _value("size/file_mib", dense, record)
    yield (
        _NONE
        if dense or is_physical(record) or is_quantised(record)
        else metric_text("size/file_sparse_mib", record["metrics"].get("size/file_sparse_mib"))
    )
    for name in ("infer/latency_ms", "infer/samples_per_s"):
        yield "1" if dense else _ratio(compared(record, name))
    yield ((_dense_model(record) if dense else record["id"]) or _NONE).split("-")[0]


def _ratio(row: dict[str, Any]) -> str:
    ratio, low, high = (row.get(one) for one in ("ratio", "low", "high"))
    if ratio is None:
        return _NONE
    return f"{ratio:.2f}" if low is None or high is None else f"{ratio:.2f} ({low:.2f} to {high:.2f})"


def _legend(records: Sequence[dict[str, Any]], columns: list[Column]) -> Iterator[str]:
    shown = {heading for heading, _ in columns}
    masked, physical = (
        ", ".join(dict.fromkeys(written_at(one, "pruner") for one in records if is_pruned(one) and is_physical(one) == which))
        for which in (False, True)
    )
    if masked:
        yield f"mask-only ({masked}): what is gone is zero in its place; file and time stay as they are."
        if "sparse file" in shown:
            yield "sparse file: the same model with its zeros left out; it is unpacked to the whole when loaded."
    if physical:
        yield f"physical ({physical}): whole units are removed; the model is smaller."
    if is_quantised(records[0]):
        yield "dense: the model in floating point, as PyTorch itself runs it (engine=eager), whatever engine executes the others."
        yield "converted: layers whose numbers have fewer bits, of all linear layers and convolutions; `thrifty show` says why not the others."
    else:
        yield "gone: share of the weights open to the pruner (not the protected ones), zero or removed."
    yield from dict.fromkeys(points_meaning(deciding_metric(one)) for one in records if one["data"].get("deciding"))
    if shown & {"latency / dense", "throughput / dense"}:
        yield "/ dense: compressed over dense, measured in interleaved pairs of fresh processes; 1 is no change."
    if any(" to " in cell for _, cells in columns for cell in cells):
        yield "In brackets: 95 % intervals."
    elif any(_difference(one) != _NONE for one in records):
        yield "95 % intervals: in a wider window, or by `thrifty show`."
