"""How much quality each layer costs when it alone is compressed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.config.choices.pruners import PROTECTED_KINDS
from thrifty.report.compressed import COMPRESSIONS, deciding_metric, method_of
from thrifty.report.listing import columns_width
from thrifty.report.numbers import number
from thrifty.report.points import is_worse, lost, points, points_meaning, points_text

Layers = dict[str, dict[float, dict[str, Any]]]
"""What was found of each layer at each share, the layer that costs most at the highest one first."""

_NONE = "-"
_WHOLLY = 0.0
"""In place of a share, of layers that are compressed or not."""
_SPARE = "spare"
_MOST_BARS = 20
_BAR = 40


def sensitivity_report(record: dict[str, Any], width: int) -> list[RenderableType]:
    """A row a layer and a bar of what it costs at the highest share; nothing where the record has no such study.

    Args:
        width: columns of the terminal; intervals that do not fit are left out, then the lower shares.
    """
    found: list[dict[str, Any]] = [{"sparsity": _WHOLLY, **one} for one in record.get("sensitivity") or []]
    if not found:
        return []
    name, highest = deciding_metric(record), max(one["sparsity"] for one in found)
    layers = _layers(found, name, highest)
    spared = [layer for layer, levels in layers.items() if _is_spared(levels.get(highest), name)]
    table = _table(layers, spared, name, width)
    return [
        Text(
            f"What each layer costs when it alone is {COMPRESSIONS.get(method_of(record), 'compressed')}, in points",
            style="bold",
        ),
        table,
        Text(points_meaning(name), style="dim"),
        *_bars(layers, name, highest),
        *_advice(record, spared, highest),
    ]


def _layers(found: Sequence[dict[str, Any]], name: str, highest: float) -> Layers:
    layers: Layers = {}
    for one in found:
        layers.setdefault(one["layer"], {})[one["sparsity"]] = one
    return dict(sorted(layers.items(), key=lambda item: -_loss(item[1].get(highest), name)))


def _points(one: dict[str, Any], name: str, bound: str = "difference") -> float | None:
    return points(name, one[bound], one["value"] - one["difference"])


def _loss(one: dict[str, Any] | None, name: str) -> float:
    """Points lost; of a layer that was not tried at that share less than any other."""
    change = None if one is None else _points(one, name)
    return float("-inf") if change is None else lost(name, change)


def _is_spared(one: dict[str, Any] | None, name: str) -> bool:
    return one is not None and is_worse(name, one["low"], one["high"])


def _table(layers: Layers, spared: Sequence[str], name: str, width: int) -> Table:
    shares = sorted({share for levels in layers.values() for share in levels})
    told = [
        ("layer", [*layers]),
        ("weights", [number(next(iter(levels.values()))["weights"], "") for levels in layers.values()]),
    ]
    marks = [("", [_SPARE if layer in spared else "" for layer in layers])]
    columns = [(_percent(share), _cells(layers, share, name, True)) for share in shares]
    if columns_width([*told, *columns, *marks]) > width:
        columns = [(_percent(share), _cells(layers, share, name, False)) for share in shares]
    while len(columns) > 1 and columns_width([*told, *columns, *marks]) > width:
        columns = columns[1:]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, (heading, _) in enumerate([*told, *columns, *marks]):
        table.add_column(heading, justify="right" if 0 < place <= len(columns) + 1 else "left", no_wrap=True)
    for layer, *cells in zip(*(cells for _, cells in [*told, *columns, *marks]), strict=True):
        table.add_row(*map(Text, [layer, *cells]), style="yellow" if layer in spared else "")
    return table


def _cells(layers: Layers, share: float, name: str, whole: bool) -> list[str]:
    bounds = ("difference", "low", "high") if whole else ("difference",)
    return [
        points_text(*(_bound(levels[share], name, bound) for bound in bounds)) if share in levels else _NONE
        for levels in layers.values()
    ]


def _bound(one: dict[str, Any], name: str, bound: str) -> float | None:
    return None if one.get(bound) is None else _points(one, name, bound)


def _percent(share: float) -> str:
    return f"{100 * share:g} %" if share != _WHOLLY else "alone"


def _bars(layers: Layers, name: str, highest: float) -> Iterator[RenderableType]:
    """The points lost, of the layers that cost most; a gain has no bar."""
    losses = {layer: _loss(levels.get(highest), name) for layer, levels in layers.items() if highest in levels}
    shown = dict(list(losses.items())[:_MOST_BARS])
    longest = max(shown.values())
    if longest <= 0:
        return
    some = f", the {len(shown)} dearest of {len(losses)}" if len(shown) < len(losses) else ""
    yield Text(f"\nPoints lost at {_percent(highest)}{some}", style="bold")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=_BAR, no_wrap=True)
    for layer, loss in shown.items():
        table.add_row(Text(layer), f"{round(loss, 2) + 0.0:.2f}", Bar(longest, 0, max(0.0, loss), width=_BAR))
    yield table


def _advice(record: dict[str, Any], spared: Sequence[str], highest: float) -> Iterator[RenderableType]:
    if not spared:
        yield Text(f"No layer costs quality beyond doubt at {_percent(highest)}: none needs to be spared.")
        return
    line = shlex.quote(_sparing(record["config"], spared))
    yield Text.assemble(f"{_SPARE}: ", (line, "cyan"), no_wrap=True, overflow="ignore")
    yield Text(
        f"their intervals at {_percent(highest)} lie wholly on the side of a loss; with it they stay as they are", style="dim"
    )


def _sparing(config: dict[str, Any], spared: Sequence[str]) -> str:
    """The override that leaves layers as they are, beside those that the run did."""
    quantizer, pruner = config.get("quantizer"), config.get("pruner")
    if isinstance(quantizer, dict):
        return f"quantizer.keep=[{','.join(dict.fromkeys([*quantizer['keep'], *(one.removesuffix('.weight') for one in spared)]))}]"
    kept: list[str] = pruner["protect"] if isinstance(pruner, dict) else list(PROTECTED_KINDS)
    return f"pruner.protect=[{','.join(dict.fromkeys([*kept, *spared]))}]"
