"""What each format costs for the weights of a GPT, dense, with int8 weights, and pruned: python tests/benchmarks/formats.py

The models are hardly trained: bytes and times hang on types and shapes, and on zeros, not on quality.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, THRIFTY, output_of

from thrifty.instrument.format_trials import FormatFinding, Loading, Samples
from thrifty.report.formats import HEADINGS, notes, row_of

COMMON = ["logger=none", "measure=none", "budget.steps=20"]
CASES = {
    "dense": [],
    "int8 weights": ["method=quantize", "quantizer=int8_weight"],
    "nine of ten weights zero": ["method=prune", "sparsity=0.9", "method.finetune=0"],
}


def finding_of(values: dict[str, Any]) -> FormatFinding:
    """A line of `thrifty export --measure --json`."""
    ways = {
        way: values[way] and Loading(**{name: Samples(**one) for name, one in values[way].items()})
        for way in ("fully", "lazily")
    }
    return FormatFinding(**{**values, "write_s": Samples(**values["write_s"]), **ways})


def measured(added: list[str], rounds: int, formats: list[str], folder: str) -> list[FormatFinding]:
    """Make a run, and measure the formats of its weights."""
    output_of([*RUN, *COMMON, *added], folder)
    run = sorted((Path(folder) / "results/runs").iterdir())[-1]
    chosen = [part for name in formats for part in ("--format", name)]
    said = output_of([*THRIFTY, "export", str(run), "--measure", "--json", "--rounds", str(rounds), *chosen], folder)
    return [finding_of(one) for one in json.loads(said)]


def main() -> None:
    """Measure, print and write the tables."""
    parser = _report.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each kind (3)")
    parser.add_argument("--only", default="", help="only models with this in their name")
    parser.add_argument("--format", nargs="*", default=[], help="only these formats")
    parser.add_argument("--model", default="small", help="size of the GPT (small)")
    parser.add_argument("--add", nargs="*", default=[], help="further overrides")
    options = parser.parse_args()
    lines = [*notes(options.rounds), ""]
    with tempfile.TemporaryDirectory() as folder:
        for what, typed in CASES.items():
            if options.only not in what:
                continue
            added = [f"model={options.model}", *typed, *options.add]
            found = measured(added, options.rounds, options.format, folder)
            lines += [
                f"## GPT {options.model}, {what}",
                "",
                f"`thrifty export RUN --measure`, of `python run.py {' '.join(added)}`",
                "",
            ]
            lines += [*_report.table(HEADINGS, [row_of(one) for one in found]), ""]
            print(what, file=sys.stderr)
    _report.publish("formats", "What formats of weights cost", lines, options.results)


if __name__ == "__main__":
    main()
