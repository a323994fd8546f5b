"""A benchmark's table: printed, and written to results/ with the command that makes it."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from thrifty.record import usable_cores

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"


def parser(about: str | None) -> argparse.ArgumentParser:
    """Of a benchmark's command line: with `--results`, and the first line of what its module is about."""
    made = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of the page")
    return made


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table's lines."""
    return [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *(f"| {' | '.join(row)} |" for row in rows)]


def publish(name: str, title: str, lines: Sequence[str], folder: Path) -> None:
    """Print the page of `tests/benchmarks/NAME.py`, and write it to NAME.md in a folder."""
    page = "\n".join(
        [
            f"# {title}",
            "",
            f"    python tests/benchmarks/{name}.py",
            "",
            *lines,
            "",
            f"Python {platform.python_version()}, torch {version('torch')}, {platform.system()} {platform.machine()}, "
            f"{usable_cores()} cores.",
            "",
        ]
    )
    print(page, end="")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
