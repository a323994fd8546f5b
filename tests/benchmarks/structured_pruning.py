"""What half of the operations are worth: python tests/benchmarks/structured_pruning.py

ViT small and ResNet-18 on the digits, pruned to half of their operations, units by structured_l1 or whole blocks by layer_drop, and
fine-tuned; each against its dense model, in interleaved pairs of fresh processes on every core, by the waterfall that every pruning ends with.
A model meets its targets by the way of pruning that suits it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, output_of


@dataclass(frozen=True)
class Case:
    """A model and what half of its operations must give."""

    what: str
    typed: list[str]
    most_latency: float
    """Compressed over dense."""
    least_throughput: float


COMMON = [
    "task=image",
    "method=prune",
    "method.finetune=0.15",
    "sparsity=0.5",
    "logger=none",
]
UNITS = ["pruner=structured_l1", "pruner.counts=flops", "pruner.multiple=16"]
CASES = [
    Case("ViT small", ["architecture=vit", "model=small", *UNITS], 0.60, 1.7),
    Case("ViT small", ["architecture=vit", "model=small", "pruner=layer_drop"], 0.60, 1.7),
    Case("ResNet-18", ["architecture=resnet", "model=small", *UNITS], 0.60, 1.6),
]
MOST_POINTS, MOST_SECONDS = 1.0, 60.0


def row_of(case: Case, record: dict[str, Any]) -> tuple[list[str], bool]:
    """A model's line, and whether all that was asked for holds."""
    steps = {one["metric"]: one for one in record["waterfall"]}
    latency, throughput = steps["infer/latency_ms"], steps["infer/samples_per_s"]
    quality = steps["quality/accuracy"]
    seconds = record["metrics"]["compress/time_s"]["value"]
    points = 100 * quality["ratio"]
    met = (
        latency["ratio"] <= case.most_latency
        and throughput["ratio"] >= case.least_throughput
        and points >= -MOST_POINTS
        and record["metrics"]["train/time_s"]["value"] <= MOST_SECONDS
    )
    cells = [
        case.what,
        next(one.removeprefix("pruner=") for one in case.typed if one.startswith("pruner=")),
        f"{steps['infer/flops_per_sample']['ratio']:.3f}",
        f"{latency['ratio']:.3f} ({latency['low']:.3f} to {latency['high']:.3f})",
        f"{case.most_latency:.2f}",
        f"{throughput['ratio']:.2f} ({throughput['low']:.2f} to {throughput['high']:.2f})",
        f"{case.least_throughput:.1f}",
        f"{100 * quality['dense']:.1f} %",
        f"{points:+.2f} ({100 * quality['low']:+.2f} to {100 * quality['high']:+.2f})",
        f"{seconds:.0f}",
        "met" if met else "missed",
    ]
    return cells, met


def main() -> None:
    """Measure, print and write the table; exit 1 where a target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--add", nargs="*", default=[], help="further overrides")
    parser.add_argument("--only", default="", help="only models with this in their name")
    parser.add_argument("--folder", type=Path, help="keeps the runs, so that another call finds the dense models")
    options = parser.parse_args()
    rows: list[list[str]] = []
    met: dict[str, bool] = {}
    for case in CASES:
        if options.only not in case.what:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            output_of([*RUN, *COMMON, *case.typed, *options.add], str(folder))
            newest = sorted(folder.glob("results/runs/*/result.json"))[-1]
            cells, holds = row_of(case, json.loads(newest.read_text(encoding="utf-8")))
        rows.append(cells)
        met[case.what] = met.get(case.what, False) or holds
        print(cells, file=sys.stderr)
    lines = [
        f"`python run.py {' '.join(COMMON)}` and, for each model, {'; '.join(f'`{chr(32).join(one.typed)}`' for one in CASES)};",
        f"fine-tuned for at most {MOST_SECONDS:.0f} s.",
        "Ratios are compressed over dense, of interleaved pairs of fresh processes on every core, with 95 % intervals: latency of one",
        "example, predictions a second at the training's batch size. Points of accuracy are paired over the test examples.",
        "",
        *_report.table(
            [
                "model",
                "pruner",
                "operations",
                "latency",
                "at most",
                "throughput",
                "at least",
                "dense accuracy",
                "points",
                "seconds to compress",
                "",
            ],
            rows,
        ),
    ]
    _report.publish("structured_pruning", "Half of the operations pruned", lines, options.results)
    sys.exit(not all(met.values()))


if __name__ == "__main__":
    main()
