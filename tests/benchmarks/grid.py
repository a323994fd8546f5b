"""How long the runs of a grid take, one after the other: python tests/benchmarks/grid.py"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, output_of

MOST_SECONDS = 1.2
"""A run, after the first."""
CASES = {
    "defaults": [],
    "`measure.processes=0`": ["measure.processes=0"],
    "`measure=none logger=none`": ["measure=none", "logger=none"],
}
"""What may be added to the grid; the limit is for the first."""


def grid(runs: int, added: list[str], folder: str) -> list[dict[str, Any]]:
    """Records of a grid over seeds of the smallest tabular model, 50 steps each."""
    typed = ["-m", "task=tabular", "model=nano", "budget.steps=50", f"seed=range(0,{runs})", *added]
    output_of([*RUN, *typed], folder)
    (sweep,) = (Path(folder) / "results/sweeps").iterdir()
    return [json.loads(run.read_text(encoding="utf-8")) for run in sorted(sweep.glob("*/result.json"))]


def seconds_a_run(records: list[dict[str, Any]]) -> list[float]:
    """From the end of one run to the end of the next."""
    ends = [datetime.fromisoformat(one["finished"]).timestamp() for one in records]
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


def main() -> None:
    """Measure, print and write the table; exit 1 where the target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--runs", type=int, default=20, help="runs of a grid (20)")
    options = parser.parse_args()
    rows, missed = [], False
    for what, added in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            taken = seconds_a_run(grid(options.runs, added, folder))
            whole = time.perf_counter() - begin
        mean, most = statistics.mean(taken), "" if added else f"{MOST_SECONDS:.1f}"
        missed |= not added and mean > MOST_SECONDS
        rows.append([what, f"{mean:.2f}", f"{statistics.median(taken):.2f}", f"{max(taken):.2f}", most, f"{whole:.1f}"])
        print(rows[-1], file=sys.stderr)
    lines = [
        f"`python run.py -m task=tabular model=nano budget.steps=50 'seed=range(0,{options.runs})'`, each run in a process of its own,",
        "one after the other. Seconds from the end of a run to the end of the next, so after the first.",
        "",
        *_report.table(["added", "mean, s", "median, s", "longest, s", "mean at most, s", "the whole command, s"], rows),
    ]
    _report.publish("grid", "A grid of small runs", lines, options.results)
    sys.exit(missed)


if __name__ == "__main__":
    main()
