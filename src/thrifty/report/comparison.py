"""A comparison of two runs as a table, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.instrument.arms import Run
from thrifty.instrument.comparison import Finding
from thrifty.instrument.floor import KeptFloor
from thrifty.measure.comparison import SMALLEST_CLAIM
from thrifty.measure.statistics import Interval
from thrifty.metrics import metric
from thrifty.report.numbers import metric_text

_COLOURS = {"second": "green", "first": "red", None: ""}


def comparison_report(runs: tuple[Run, Run], findings: Sequence[Finding], floor: KeptFloor | None) -> RenderableType:
    """What was found, a line a metric, and what it rests on."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "first", "second", "change", "95% interval", "verdict"):
        table.add_column(heading, justify="left" if heading in ("", "verdict") else "right", no_wrap=True)
    for one in findings:
        table.add_row(
            one.metric,
            *(metric_text(one.metric, {"value": value}) for value in one.values),
            change_text(one),
            _interval(one),
            Text(verdict_text(one), style=_COLOURS[one.better]),
        )
    parts: list[RenderableType] = [Text(""), _which("first ", runs[0]), _which("second", runs[1]), Text(""), table, Text("")]
    parts += [Text(f"{one.metric}: {one.how}{_bootstrap(one)}{_resolvable(one)}{_flags(one)}", style="dim") for one in findings]
    if any(one.samples for one in findings):
        known = (
            f"{100 * floor.share:.1f} %, of {floor.measured[:10]}" if floor else "not measured here yet, `thrifty doctor` does"
        )
        parts.append(
            Text(
                f"Differences below {100 * SMALLEST_CLAIM:.0f} % are never claimed, nor those below this machine's noise floor "
                f"({known}). The columns first and second show what each run measured by itself: only the change compares.",
                style="dim",
            )
        )
    return Group(*parts)


def change_text(finding: Finding) -> str:
    """The change with its sign and unit."""
    return "-" if finding.change is None else _amount(finding, finding.change.value)


def verdict_text(finding: Finding) -> str:
    """The verdict, with what is better where that is known."""
    if finding.better is None:
        return finding.verdict
    return f"{finding.verdict}: {'better' if finding.better == 'second' else 'worse'}"


def _amount(finding: Finding, value: float) -> str:
    if finding.relative:
        return f"{100 * value:+.1f} %"
    return f"{100 * value:+.2f} points" if metric(finding.metric).fraction else f"{value:+.4f}"


def _interval(finding: Finding, of: Interval | None = None) -> str:
    change = of or finding.change
    if change is None or change.low is None or change.high is None:
        return ""
    return f"{_amount(finding, change.low).split()[0]} to {_amount(finding, change.high)}"


def _resolvable(finding: Finding) -> str:
    if finding.resolvable is None or finding.claimed:
        return ""
    smallest = _amount(finding, finding.resolvable).lstrip("+")
    return f"; the smallest difference that would have been resolved is about {smallest}"


def _bootstrap(finding: Finding) -> str:
    return f", bootstrap {_interval(finding, finding.bootstrap)}" if finding.bootstrap else ""


def _flags(finding: Finding) -> str:
    return f"; meanwhile: {', '.join(finding.flags)}" if finding.flags else ""


def _which(place: str, run: Run) -> Text:
    return Text(f"{place}  {run.record['id']}", no_wrap=True)


def as_json(runs: tuple[Run, Run], findings: Sequence[Finding], floor: KeptFloor | None, failed: list[str]) -> dict[str, Any]:
    """Everything found, the raw samples among it."""
    return {
        "first": runs[0].record["id"],
        "second": runs[1].record["id"],
        "noise_floor": None if floor is None else vars(floor),
        "failed": failed,
        "findings": [
            {
                "metric": one.metric,
                "verdict": one.verdict,
                "claimed": one.claimed,
                "better": one.better,
                "change": None if one.change is None else vars(one.change),
                "bootstrap": None if one.bootstrap is None else vars(one.bootstrap),
                "relative": one.relative,
                "resolvable": one.resolvable,
                "values": list(one.values),
                "how": one.how,
                "flags": one.flags,
                "conditions": one.conditions,
                "seconds": one.seconds,
                "settings": one.settings,
                "samples": one.samples,
            }
            for one in findings
        ],
    }
