"""What formats cost, as a table, in Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.instrument.format_trials import FormatFinding, Loading, Samples

HEADINGS = ("format", "MiB", "of the run's", "write, ms", "load, ms", "peak, MiB", "lazily, ms", "peak, MiB")


def formats_report(findings: Sequence[FormatFinding], rounds: int) -> RenderableType:
    """A line a format, and what the figures mean."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for one in findings:
        table.add_row(*row_of(one))
    missing = [Text(f"{one.name}: {one.reason}") for one in findings if one.reason is not None]
    return Group(table, Text(""), *missing, *(Text(line, style="dim") for line in notes(rounds)))


def row_of(one: FormatFinding) -> list[str]:
    """The cells of a format's line; dashes where there is nothing to tell."""
    if one.reason is not None:
        return [one.name, *("-" for _ in HEADINGS[1:])]
    size = [f"{one.bytes / 2**20:.4g}", f"{one.ratio:.3f}"]
    return [one.name, *size, _range(one.write_s, 1e3), *_loading(one.fully), *_loading(one.lazily)]


def notes(rounds: int) -> list[str]:
    """What the figures mean, in lines."""
    return [
        f"Medians of {rounds} fresh processes each, in random order (lowest to highest); where two such ranges overlap, no difference is",
        "resolved. Write: until the file is on the disk. Load: until every byte of every tensor was read, all tensors held; lazily: one",
        "tensor after the other. Files were just written, and are read from memory, not from the disk. Peak: resident memory above what",
        "the process had before, pages of the file included. A compressed file is unpacked beside its reader first, lazily too.",
    ]


def as_json(findings: Sequence[FormatFinding]) -> list[dict[str, Any]]:
    """Every sample, in seconds, bytes and MiB."""
    return [asdict(one) for one in findings]


def _loading(loading: Loading | None) -> tuple[str, str]:
    if loading is None:
        return "-", "-"
    return _range(loading.seconds, 1e3), _range(loading.peak_mib, 1.0)


def _range(samples: Samples, factor: float) -> str:
    if not samples.values:
        return "-"
    median, low, high = (f"{factor * one:.3g}" for one in (samples.median, samples.low, samples.high))
    return f"{median} ({low} to {high})" if len(samples.values) > 1 else median
