"""What pruning saves, as a user sees it: python tests/benchmarks/pruning.py

Two grids of `method=prune`, each with the table and the curve that it ends with.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
from pathlib import Path

import _report
from _commands import RUN, output_of

PRUNERS = "pruner=magnitude,random,n_m,wanda,structured_l1"
GRIDS = {
    "image": ["method=prune", PRUNERS, "sparsity=0.5,0.8,0.9", "task=image", "architecture=vit", "model=tiny"],
    "tabular": ["method=prune", PRUNERS, "sparsity=0.5,0.8,0.9", "task=tabular", "model=tiny"],
}


def main() -> None:
    """Run, print and write what the grids print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only the grid of this task")
    parser.add_argument("--add", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for every run")
    parser.add_argument("--results", type=Path, default=_report.RESULTS, help="folder of the page")
    options = parser.parse_args()
    lines = []
    for task, typed in GRIDS.items():
        if options.only not in ("", task):
            continue
        given = [*typed, *options.add]
        with tempfile.TemporaryDirectory() as folder:
            # A refused or unsupported run is a line of the table, with its reason.
            printed = output_of([*RUN, "-m", *given, "logger=none"], folder, allowed=(0, 3), COLUMNS="180")
        shown = printed.strip().rsplit("\n", 1)[0].rstrip()  # without the line that names the folder
        lines += ["", f"    {shlex.join(['python', 'run.py', '-m', *given])}", "", "```text", shown, "```"]
    _report.publish("pruning", "What pruning saves", lines[1:], options.results)


if __name__ == "__main__":
    main()
