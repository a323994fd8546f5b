"""What pruning whole blocks and then the best engine make of a small GPT together: python tests/benchmarks/pruned_and_optimized.py

Some fifteen minutes on two cores: training for its usual budget, half of the blocks taken out and the rest fine-tuned, then `method=optimize`
on what is left. The last is compared with the first, as a user compares two runs.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, THRIFTY, output_of

MODEL = ["task=text", "model=small", "architecture.context=128", "logger=none"]
LEAST_SPEED_UP, MOST_POINTS = 4.0, 1.0
LATENCY, THROUGHPUT, QUALITY = "infer/latency_ms", "infer/samples_per_s", "quality/bits_per_byte"


def run(typed: list[str], folder: Path) -> Path:
    """The directory of a run."""
    print(shlex.join(typed), file=sys.stderr)
    output_of([*RUN, *typed], str(folder))
    return sorted((folder / "results/runs").iterdir())[-1]


def compared(first: Path, second: Path, metric: str, folder: Path) -> dict[str, Any]:
    """What `thrifty compare` finds."""
    said = output_of([*THRIFTY, "compare", str(first), str(second), "--metric", metric, "--json"], str(folder))
    return json.loads(said)["findings"][0]


def times_as_fast(finding: dict[str, Any]) -> tuple[float, str]:
    """How many times as fast the second is, and the same with its interval."""
    power = -1 if finding["metric"] == LATENCY else 1
    value, low, high = ((1 + finding["change"][name]) ** power for name in ("value", "low", "high"))
    return value, f"{value:.2f} ({min(low, high):.2f} to {max(low, high):.2f})"


def percent_more(finding: dict[str, Any]) -> tuple[float, str]:
    """How much more the second's value is, and the same with its interval."""
    base = 1 if finding["relative"] else finding["values"][0]
    value, low, high = (100 * finding["change"][name] / base for name in ("value", "low", "high"))
    return value, f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Train, prune, optimise, compare; print and write the table; exit 1 where a target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--only", default="", choices=("", "latency", "throughput"), help="only this objective")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each search")
    parser.add_argument("--sparsity", type=float, default=0.5, help="share of the blocks' weights that go")
    parser.add_argument("--add", nargs="*", default=[], metavar="KEY=VALUE", help="further overrides")
    parser.add_argument("--folder", type=Path, help="keeps the runs, so that another call finds the dense model")
    options = parser.parse_args()
    common = [*MODEL, *options.add]
    pruning = ["method=prune", "pruner=layer_drop", f"sparsity={options.sparsity:g}", "method.finetune=0.5"]
    search = ["method=optimize", "max_quality_loss=0.5", f"method.seconds={options.seconds:g}"]
    rows, met = [], True
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        dense = run(common, folder)
        pruned = run([*common, *pruning, f"checkpoint={dense}"], folder)
        quality = compared(dense, pruned, QUALITY, folder)
        for objective, metric in (("latency", LATENCY), ("throughput", THROUGHPUT)):
            if options.only not in ("", objective):
                continue
            found = run([*common, *search, f"objective={objective}", f"checkpoint={pruned}"], folder)
            alone, together = compared(dense, pruned, metric, folder), compared(dense, found, metric, folder)
            after = compared(dense, found, QUALITY, folder)
            holds = times_as_fast(together)[0] >= LEAST_SPEED_UP and percent_more(after)[0] <= MOST_POINTS
            met = met and holds
            found_ones = (times_as_fast(alone), times_as_fast(together), percent_more(quality), percent_more(after))
            rows.append([objective, *(text for _, text in found_ones), "met" if holds else "missed"])
    lines = [
        f"`python run.py {shlex.join(common)}`; the same with `{shlex.join(pruning)} checkpoint=DENSE`; and on that",
        f"`{shlex.join(search)} objective=... checkpoint=PRUNED`. By `thrifty compare DENSE ...`: times as fast as the dense model by",
        f"PyTorch itself (at least {LEAST_SPEED_UP:g} together), with 95 % intervals; bits per byte on the test split, more being worse, in",
        f"percent (at most {MOST_POINTS:g}).",
        "",
        *_report.table(
            ["objective", "pruned alone", "pruned and optimised", "bits per byte, pruned", "and optimised", ""], rows
        ),
    ]
    _report.publish("pruned_and_optimized", "Pruned, then optimised", lines, options.results)
    sys.exit(not met)


if __name__ == "__main__":
    main()
