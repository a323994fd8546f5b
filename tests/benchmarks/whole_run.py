"""How long whole runs take, from the command to its summary, on two cores: python tests/benchmarks/whole_run.py"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, output_of

CORES = 2
MOST_SECONDS = {"": 90, "model=large optimizer=adam": 240, "task=tabular": 90}
"""What may be added to `python run.py`, and the longest it may then take."""


def timed(overrides: list[str], folder: str) -> tuple[float, dict[str, Any]]:
    """Wall seconds of a run as a process, and its record."""
    store = Path(folder) / "store"
    begin = time.perf_counter()
    output_of([*RUN, *overrides, f"store={store}"], folder)
    seconds = time.perf_counter() - begin
    (run,) = (store / "runs").iterdir()
    return seconds, json.loads((run / "result.json").read_text(encoding="utf-8"))


def row_of(typed: str, seconds: float, most: float, record: dict[str, Any]) -> list[str]:
    """A run as it stands in the table."""
    metrics, deciding = record["metrics"], record["data"]["deciding"]
    training, quality = metrics["train/time_s"]["value"], metrics[f"quality/{deciding}"]["value"]
    return [
        f"`python run.py {typed}`".replace(" `", "`"), f"{seconds:.1f}", str(most), f"{training:.1f}",
        str(metrics["train/steps"]["value"]), f"{deciding} {quality:.3f}", ", ".join(record["flags"]) or "none",
    ]  # fmt: skip


def main() -> None:
    """Measure, print and write the table; exit 1 where a run takes too long."""
    parser = _report.parser(__doc__)
    parser.add_argument("--only", metavar="OVERRIDES", help="only the run with these overrides")
    parser.add_argument("--add", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for every run")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # the runs inherit it
    rows, missed = [], False
    for typed, most in MOST_SECONDS.items():
        if options.only not in (None, typed):
            continue
        with tempfile.TemporaryDirectory() as folder:
            seconds, record = timed([*typed.split(), *options.add], folder)
        missed |= seconds > most
        rows.append(row_of(typed, seconds, most, record))
        print(rows[-1], file=sys.stderr)
    lines = [
        f"Wall seconds of whole processes on {CORES} cores, one of each, wandb and every measurement included, in a store of",
        "their own. Training is the time of optimiser steps within.",
        "",
        *_report.table(["command", "s", "at most, s", "of it training, s", "steps", "quality on test", "flags"], rows),
    ]
    _report.publish("whole_run", "Whole runs", lines, options.results)
    sys.exit(missed)


if __name__ == "__main__":
    main()
