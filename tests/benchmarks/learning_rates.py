"""How far the default learning rates are from the best: python tests/benchmarks/learning_rates.py

Hours on two cores. Every cell that is done is kept beside the table, in learning_rates.json, and is not made again while its default and
its length stay what they are: the study can be made a part at a time, and again where a rate has changed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, output_of

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
OPTIMIZERS = ("adamw", "sgd", "muon")
SIZES = ("nano", "tiny", "small")
MOST_SHARE = 0.10
"""By which the default's validation loss may exceed the best one's."""
CASES = {
    "mlp": ["task=tabular"],
    "vit": ["task=image", "architecture=vit", "measure.examples=2000"],
    "resnet": ["task=image", "architecture=resnet", "measure.examples=2000"],
    "gpt": ["task=text"],
}
"""What each architecture is tried on; all 359 images of the digits' validation split are looked at."""
STEPS = {
    "mlp": {},
    "vit": {"nano": 150, "tiny": 80, "small": 60},
    "resnet": {"nano": 150, "tiny": 150, "small": 60},
    "gpt": {"nano": 400, "tiny": 100, "small": 60},
}
"""Optimiser steps, where `budget=quick` would take too many for fifteen trainings and more."""

SEEDS = {
    "mlp": {"nano": 8, "tiny": 8, "small": 8},
    "vit": {"nano": 2, "tiny": 1, "small": 1},
    "resnet": {"nano": 3, "tiny": 2, "small": 1},
    "gpt": {"nano": 1, "tiny": 1, "small": 1},
}
"""Trainings for each rate, whose mean loss counts: more where few examples make the loss, fewer where they take minutes."""


def default_rate(typed: list[str]) -> float:
    """The learning rate that these settings have unless told."""
    from thrifty.config.compose import compose

    rate = compose(typed).optimizer.lr
    assert rate is not None
    return rate


def losses(typed: list[str], rates: list[float], seeds: int, folder: Path) -> list[float]:
    """Mean validation loss at the end, by learning rate; infinite where training ran away. What the folder has is not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [f"{one:.4g}" for one in rates]
    missing = [one for one in texts if len(_found(folder).get(float(one), [])) < seeds]
    if missing:
        given = [f"optimizer.lr={','.join(missing)}", f"seed=range(0,{seeds})", "logger=none", "measure=none"]
        output_of([*RUN, "-m", *typed, *given], str(folder), allowed=(0, 6))
    found = _found(folder)
    return [sum(found[float(one)]) / len(found[float(one)]) for one in texts]


def kept_cells(file: Path) -> dict[str, list[float]]:
    """Mean losses by what was typed, its rates included."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _length(architecture: str, size: str) -> list[str]:
    steps = STEPS[architecture].get(size)
    return [] if steps is None else [f"budget.steps={steps}", "budget.seconds=null"]


def _found(folder: Path) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for file in sorted(folder.glob("results/sweeps/*/*/result.json")):
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if record["status"] not in ("ok", "diverged"):  # one that was stopped tells nothing
            continue
        value = record["metrics"].get("validation/loss", {}).get("value") if record["status"] == "ok" else None
        found.setdefault(record["config"]["optimizer"]["lr"], []).append(float("inf") if value is None else value)
    return found


def _lengths(architecture: str) -> str:
    steps = STEPS[architecture]
    return f", `budget.steps` of {', '.join(f'{steps[size]} ({size})' for size in steps)}" if steps else ""


def _seeds(architecture: str) -> str:
    return "seeds of " + ", ".join(f"{count} ({size})" for size, count in SEEDS[architecture].items())


def main() -> None:
    """Measure, print and write the table; exit 1 where a default is further from the best than it may be."""
    parser = _report.parser(__doc__)
    parser.add_argument(
        "--architectures", nargs="*", default=list(CASES), help="to measure where they were not yet: of " + ", ".join(CASES)
    )
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), help="of " + ", ".join(SIZES))
    parser.add_argument("--folder", type=Path, help="keeps the runs, so that another call makes only those that are not there")
    options = parser.parse_args()
    rows, missed, cells = [], False, kept_cells(options.results / "learning_rates.json")
    for architecture in CASES:
        for size in SIZES:
            for optimizer in OPTIMIZERS:
                typed = [*CASES[architecture], f"model={size}", f"optimizer={optimizer}", *_length(architecture, size)]
                default = default_rate(typed)
                cell = f"{' '.join(typed)} optimizer.lr={default:.4g} seeds={SEEDS[architecture][size]}"
                if cell not in cells and architecture in options.architectures and size in options.sizes:
                    with tempfile.TemporaryDirectory() as temporary:
                        folder = (options.folder or Path(temporary)) / "_".join(typed)
                        cells[cell] = losses(typed, [default * one for one in FACTORS], SEEDS[architecture][size], folder)
                    options.results.mkdir(parents=True, exist_ok=True)
                    (options.results / "learning_rates.json").write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
                if cell not in cells:
                    rows.append(
                        [architecture, size, optimizer, f"{default:.3g}", *["" for _ in FACTORS], "", "not measured yet"]
                    )
                    continue
                means = cells[cell]
                best = min(range(len(means)), key=means.__getitem__)
                share = means[FACTORS.index(1.0)] / means[best] - 1
                missed |= share > MOST_SHARE
                at = f"{FACTORS[best]:g} x"
                rows.append(
                    [
                        architecture,
                        size,
                        optimizer,
                        f"{default:.3g}",
                        *(f"{one:.4g}" for one in means),
                        at,
                        f"{100 * share:.1f} %",
                    ]
                )
                print(rows[-1], file=sys.stderr)
    lines = [
        "Mean validation loss at the end of training at multiples of the default learning rate, and by how much the default's exceeds",
        f"the best of them (at most {100 * MOST_SHARE:.0f} % is asked for). What was run:",
        "",
        *(f"- {name}: `python run.py {' '.join(typed)} model=... optimizer=... optimizer.lr=...`{_lengths(name)}, with {_seeds(name)} a rate"
          for name, typed in CASES.items()),
        "",
        *_report.table(
            ["architecture", "model", "optimizer", "default", *(f"x {one:g}" for one in FACTORS), "best at", "default is worse by"], rows
        ),
    ]  # fmt: skip
    _report.publish("learning_rates", "How far the default learning rates are from the best", lines, options.results)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
