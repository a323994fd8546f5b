"""One run as a table a newcomer understands, ending with what to try next."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.metrics import METRICS, declared
from thrifty.report.advice import next_steps
from thrifty.report.numbers import interval_text, metric_text
from thrifty.report.optimize import optimize_report
from thrifty.report.plan import planned_steps
from thrifty.report.published import published
from thrifty.report.search import search_report
from thrifty.report.sensitivity import sensitivity_report
from thrifty.report.waterfall import waterfall_table
from thrifty.stop import HOPELESS

SECTIONS = {
    "quality/": "How good (test split, touched once)",
    "validation/": "On the validation split",
    "train/": "Cost of training",
    "infer/": "Cost of prediction",
    "size/": "Size",
    "compress/": "Cost of compressing",
}
Row = tuple[str, str, str, str]
"""Name, value, interval and meaning of a metric."""
_HEADER: Row = ("", "value", "95% interval", "what it is")


def summary(record: dict[str, Any], path: str, width: int, everything: bool = False) -> RenderableType:
    """The table of a record.

    Args:
        width: columns of the terminal; where explanations do not fit, they are left out.
        everything: also show the metrics that are missing, with their reasons.
    """
    sections = {heading: _rows(record, prefix) for prefix, heading in SECTIONS.items()}
    sections = {heading: rows for heading, rows in sections.items() if rows}
    widths = _widths([_HEADER, *(row for rows in sections.values() for row in rows)])
    wide = sum(widths) + 2 * (len(widths) - 1) <= width
    parts: list[RenderableType] = [Text(""), _title(record)]
    if record["status"] != "ok":
        parts.append(Text(_status(record), style="bold yellow" if record["status"] == "running" else "bold red"))
    widths = widths if wide else widths[:-1]
    parts += [_table([_HEADER], widths, "dim")] if sections else []
    for heading, rows in sections.items():
        parts += [Text(heading, style="bold"), _table(rows, widths, "", f"quality/{record['data'].get('deciding')}")]
    parts += _unmeasured(record) if everything else []
    parts += waterfall_table(record, width)
    beside = published(record)
    parts += [] if beside is None else [Text(beside, style="dim")]
    parts += sensitivity_report(record, width)
    parts += search_report(record)
    parts += optimize_report(record, width)
    parts += _costliest(record)
    parts += [Text(f"! {flag}: {flag_text(flag, record)}", style="yellow") for flag in record["flags"]]
    whole: dict[str, Any] = {"no_wrap": True, "overflow": "ignore"}  # never folded: what is copied must be one line
    parts += [Text(""), Text(f"record  {path}", **whole), Text(f"again   {record['command']}", **whole)]
    advice = next_steps(record)
    if advice:
        parts.append(Text("\nWhat to try next", style="bold"))
        parts += [Text.assemble("  ", (command, "cyan"), f"\n      {why}", **whole) for command, why in advice]
    return Group(*parts)


def flag_text(flag: str, record: dict[str, Any]) -> str:
    """What a flag of a record means, with the record's own numbers."""
    steps, planned = record["metrics"].get("train/steps", {}).get("value"), planned_steps(record)
    texts = {
        "budget_reached": f"training met its time cap after {steps} of {planned} steps: speed, memory and size are what they "
        "are, quality is that of a model cut short",
        "stopped_early": f"training stopped after {steps} of {planned} steps, as validation no longer got better; "
        "the best weights were kept",
        HOPELESS: f"its search ended it after {steps} of {planned} steps, as other trials did better: nothing of it was measured",
        "pruning_cut_short": "training met its time cap before the last weights were to go: they went without training after it",
        "not_certified": "the loss found is within max_quality_loss, but with so few validation examples it could be larger",
        "bound_not_met": "nothing that was tried kept within max_quality_loss: this is the first one tried",
        "nothing_tried": "nothing could be tried, or there was no time for it: this is the dense model as PyTorch runs it",
        "nothing_better": "nothing that was tried is better and within max_quality_loss: this is the dense model as PyTorch runs it",
        "search_cut_short": "the search's time was spent before everything was tried: a longer method.seconds may find better",
        **_condition_texts(record["conditions"] if isinstance(record.get("conditions"), dict) else {}),
    }
    return texts.get(flag, "see the record")


def _condition_texts(conditions: dict[str, Any]) -> dict[str, str]:
    """What spoilt the measurements; numbers of a record of ours, made before there were any, are left out."""
    sequential = "compare this run with another by `thrifty compare`, not by its numbers"

    def percent(name: str) -> str:
        value = conditions.get(name)
        return "some" if value is None else f"{100 * value:.0f} %"

    before, after = ((conditions.get(f"canary_{when}") or {}).get("value") for when in ("before", "after"))
    drift = f" by {100 * (after / before - 1):+.0f} %" if before and after else ""
    return {
        "busy_machine": f"other processes took {percent('others_share')} of the cores' time: times are too long; {sequential}",
        "stolen_time": f"the host gave {percent('stolen_share')} of the cores' time to others: times are too long; {sequential}",
        "canary_drift": f"the machine's pace changed{drift} during the run; {sequential}",
        "not_steady": "prediction had not come to a steady pace when its warm-up ended; measure=full warms up longer",
        "recompiled": "torch.compile compiled again while prediction was timed: times are too long; samples.json shows which",
        "swapping": "memory was read back from swap: times are those of the disk; run less beside it",
        "throttled": "the processor or the GPU slowed itself down for heat: times are too long; cool it, or wait",
    }


def _title(record: dict[str, Any]) -> Text:
    config = record["config"]
    return Text.assemble(
        (f"{config['task']['name']} · {config['architecture']['name']} {config['model']} · {config['method']['name']}", "bold"),
        f"   {config['optimizer']['name']}, lr {config['optimizer']['lr']:g}, batch {record['data'].get('batch_size') or config['batch_size']}, "
        f"{config['precision']['name']} on {record['environment'].get('device') or config['device']}{_engine(config)}, seed {config['seed']}",
    )


def _engine(config: dict[str, Any]) -> str:
    """Named where it is not what runs models anyway."""
    engine = config.get("engine")
    name = engine["name"] if isinstance(engine, dict) else "eager"  # of early records there was no other
    return "" if name == "eager" else f", predicting by {name}"


def _status(record: dict[str, Any]) -> str:
    if record["status"] == "running":
        attempt = record["attempt"]
        return f"running: not finished yet, process {attempt['pid']} on {attempt['host']}"
    return f"{record['status']}: {record['reason']}"


def _rows(record: dict[str, Any], prefix: str) -> list[Row]:
    """The metrics under a prefix that have a value."""
    rows = []
    trained = record["metrics"].get("train/steps", {}).get("value") != 0
    for name, entry in _in_order(record["metrics"]):
        if (
            not name.startswith(prefix)
            or entry["value"] is None
            or (prefix == "train/" and entry["value"] == 0 and not trained)
        ):
            continue
        metric = declared(name)
        value = metric_text(name, entry, record["data"].get("deciding"))
        rows.append((f"  {name}", value, interval_text(name, entry), metric.meaning if metric else ""))
    return rows


def _unmeasured(record: dict[str, Any]) -> list[RenderableType]:
    """Those that have none, by the reason, as many share one."""
    names: dict[str, list[str]] = {}
    for name, entry in _in_order(record["metrics"]):
        if entry["value"] is None:
            names.setdefault(entry.get("reason", "no reason was recorded"), []).append(name)
    lines = [Text(f"- {', '.join(some)}: {reason}", style="dim") for reason, some in names.items()]
    return [Text("Not measured", style="bold"), *lines] if lines else []


def _in_order(metrics: dict[str, Any]) -> list[tuple[str, Any]]:
    """Of their declarations; what nobody declared comes last."""
    order = [*METRICS, *(name for name in metrics if name not in METRICS)]
    return [(name, metrics[name]) for name in order if name in metrics]


def _costliest(record: dict[str, Any]) -> list[RenderableType]:
    """What a profile found, the dearest operation first."""
    operations = record.get("profile") or []
    if not operations:
        return []
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "right", "right"):
        table.add_column(no_wrap=True, overflow="ellipsis", justify=justify)
    for one in operations:
        row = (f"  {one['name']}", f"{one['share'] * 100:.1f} %", f"{one['self_ms']:.3g} ms", f"{one['calls']} calls")
        table.add_row(*map(Text, row))
    return [Text("Costliest operations (a few steps and predictions under the profiler: trace.json.gz)", style="bold"), table]


def _widths(rows: list[Row]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _table(rows: list[Row], widths: list[int], style: str, deciding: str = "") -> Table:
    """Rows in columns as wide as those of every other section."""
    table = Table(box=None, pad_edge=False, show_header=False, style=style)
    for place, width in enumerate(widths):
        table.add_column(
            min_width=width, no_wrap=True, justify="right" if place == 1 else "left", style="dim" if place == 3 else ""
        )
    for row in rows:
        table.add_row(*map(Text, row[: len(widths)]), style="bold green" if row[0].strip() == deciding else "")
    return table
