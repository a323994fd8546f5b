"""One run as a table a newcomer understands, ending with what to try next."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from thrifty.metrics import METRICS
from thrifty.report.advice import next_steps
from thrifty.report.numbers import interval_text, metric_text

SECTIONS = (
    ("How good", ("quality/", "validation/")),
    ("Cost of training", ("train/",)),
    ("Cost of prediction", ("infer/",)),
    ("Size", ("size/",)),
)
_WIDE = 118
FLAGS = {
    "budget_reached": "training met its time cap before its last step: quality is that of a run cut short (budget=full trains on)",
    "stopped_early": "training stopped early: validation no longer got better; the best weights were kept",
    "few_samples": "too few samples for some figures",
}


def summary(record: dict[str, Any], path: str, width: int, everything: bool = False) -> RenderableType:
    """The table of a record.

    Args:
        width: columns of the terminal; a narrow one gets no column of explanations.
        everything: also show the metrics that are missing, with their reasons.
    """
    config = record["config"]
    title = Text.assemble(
        (f"{config['task']['name']} · {config['architecture']['name']} {config['model']} · {config['method']['name']}", "bold"),
        f"   {config['optimizer']['name']}, lr {config['optimizer']['lr']:g}, batch {config['batch_size']}, "
        f"{config['precision']['name']} on {record['environment'].get('device') or '?'}, seed {config['seed']}",
    )
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    wide = width >= _WIDE
    table.add_column("", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95% interval", no_wrap=True)
    if wide:
        table.add_column("what it is", style="dim")
    unmeasured: list[str] = []
    deciding = record["data"].get("deciding")
    for heading, prefixes in SECTIONS:
        rows = [(name, entry) for name, entry in record["metrics"].items() if name.startswith(prefixes)]
        rows = [row for row in _in_order(rows) if everything or row[1]["value"] is not None]
        if rows:
            table.add_row(Text(heading, style="bold"))
        for name, entry in rows:
            declared = METRICS.get(name)
            value, interval = metric_text(name, entry), interval_text(name, entry)
            meaning = declared.meaning if declared else ""
            if entry["value"] is None:
                meaning = f"not measured: {entry['reason']}"
                unmeasured.append(f"- {name}: {entry['reason']}")
            style = "bold green" if name == f"quality/{deciding}" else ""
            table.add_row(f"  {name}", Text(value, style=style), interval, *([escape(meaning)] if wide else []))
    parts: list[RenderableType] = [Text(""), title]
    if record["status"] != "ok":
        parts.append(Text(f"{record['status']}: {record['reason']}", style="bold red"))
    if table.row_count:
        parts.append(table)
    parts += [Text(line, style="dim") for line in unmeasured if not wide]
    parts += [Text(f"! {flag}: {FLAGS.get(flag, 'see the record')}", style="yellow") for flag in record["flags"]]
    parts.append(Text(""))
    whole: dict[str, Any] = {"no_wrap": True, "overflow": "ignore"}  # never folded: what is copied must be one line
    parts.append(Text(f"record  {path}", **whole))
    parts.append(Text(f"again   {record['command']}", **whole))
    advice = next_steps(record)
    if advice:
        parts.append(Text("\nWhat to try next", style="bold"))
        parts += [Text.assemble("  ", (command, "cyan"), f"\n      {why}", **whole) for command, why in advice]
    return Group(*parts)


def _in_order(rows: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    order = {name: place for place, name in enumerate(METRICS)}
    return sorted(rows, key=lambda row: (row[0].startswith("validation/"), order.get(row[0], len(order))))
