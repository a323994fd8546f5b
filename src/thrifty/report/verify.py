"""What the instrument's trial of itself came to, as a table for people and as Markdown."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.instrument.verify import Tally, smallest_found
from thrifty.measure.statistics import Interval
from thrifty.record import usable_cores

_HEADINGS = (
    "second arm",
    "neighbour",
    "claimed",
    "interval holds the truth",
    "half width",
    "scatter",
    "seconds",
    "one after the other",
)


def verify_report(tallies: Sequence[Tally]) -> RenderableType:
    """The table, and what it means."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    for one in tallies:
        table.add_row(*_cells(one))
    return Group(Text(""), table, Text(""), *(Text(line) for line in meaning(tallies)))


def meaning(tallies: Sequence[Tally]) -> list[str]:
    """The table in sentences."""
    false = [one for one in tallies if not one.slowdown]
    claims, trials = sum(round(one.claims.value * one.claims.n) for one in false), sum(one.claims.n for one in false)
    lines = [
        f"{claims} of {trials} comparisons of a model with itself claimed a difference.",
        "Effects below 2 % are never claimed, by design; the smallest that is found in nine comparisons of ten here is "
        f"about {100 * smallest_found(tallies):.1f} %.",
    ]
    usual = [one.reference for one in false if one.reference is not None]
    if usual:
        wrong = sum(round(one.value * one.n) for one in usual)
        lines.append(
            f"Timed one after the other by torch.utils.benchmark, in the same time, {wrong} of {sum(one.n for one in usual)} did."
        )
    return lines


def verify_markdown(tallies: Sequence[Tally], trials: int, threads: int) -> str:
    """The same as a page that stands in results/."""
    rows = [_HEADINGS, tuple("---" for _ in _HEADINGS), *(_cells(one) for one in tallies)]
    return "\n".join(
        [
            "# The instrument, tried on itself",
            "",
            f"    thrifty verify --trials {trials} --threads {threads}",
            "",
            "Forward passes of a perceptron with one hidden layer, in blocks of about a millisecond: 20 against 20, 34 against 35 (2.9 %),",
            "20 against 21 and 22, without and with a process beside them that keeps one core busy. Shares with their 95 % binomial",
            "(Wilson) interval; `scatter` is the root of the mean squared error of the estimate, `one after the other` the share of tries",
            "in which timing the two in sequence by torch.utils.benchmark, in the same time, showed a difference above 2 %, with its scatter.",
            "",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            *meaning(tallies),
            "",
            f"Python {platform.python_version()}, torch {version('torch')}, {platform.system()} {platform.machine()}, "
            f"{usable_cores()} cores.",
            "",
        ]
    )


def _cells(one: Tally) -> tuple[str, ...]:
    usual = "" if one.reference is None else f"{_count(one.reference)}, {100 * (one.reference_deviation or 0):.1f} %"
    return (
        "the same" if not one.slowdown else f"{100 * one.slowdown:.0f} % slower",
        "busy" if one.neighbour else "none",
        _count(one.claims),
        _count(one.coverage),
        f"{100 * one.half_width:.2f} %",
        f"{100 * one.deviation:.2f} %",
        f"{one.seconds:.1f}",
        usual,
    )


def _count(share: Interval) -> str:
    low, high = (0 if one is None else round(100 * one) for one in (share.low, share.high))
    return f"{round(share.value * share.n)} of {share.n} ({low} to {high} %)"
