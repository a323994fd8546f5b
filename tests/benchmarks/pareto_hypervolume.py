"""How much of a grid's Pareto front a search with a stopper finds, and in which share of its time: python tests/benchmarks/pareto_hypervolume.py"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _report
import optuna
from _commands import RUN, output_of
from _hypervolume import Point, hypervolume
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

LEAST_SHARE = 0.95
"""Of the grid's hypervolume."""
MOST_TIME = 1 / 3
"""Of its trial-seconds."""
SPACE = (
    "architecture=mlp,resnet",
    "model=nano,tiny",
    "optimizer.lr=1e-4,1e-3,3e-3,1e-2,3e-2,1e-1",
    "schedule=constant,cosine,one_cycle",
)
_SEARCH = ("sweeps=pareto", *SPACE, "logger=none", "sweep.reuse=false")
_MANY = 10_000
"""Trials: time ends it."""


@dataclass(frozen=True)
class Done:
    """A trial."""

    values: dict[str, str]
    seconds: float
    state: TrialState
    point: Point | None
    """Where it came to: error, logarithms of latency and of bytes; less is better."""

    @property
    def key(self) -> str:
        """The experiment."""
        return json.dumps(self.values, sort_keys=True)


def trials(given: Sequence[str]) -> list[Done]:
    """All of a search, in the order in which they ended."""
    with tempfile.TemporaryDirectory() as folder:
        output_of([*RUN, "-m", *_SEARCH, *given], folder, COLUMNS="150")
        (journal,) = Path(folder).glob("results/sweeps/*/study.journal")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        (study,) = optuna.get_all_study_names(storage)
        found = optuna.load_study(study_name=study, storage=storage).get_trials(deepcopy=False)
    ended = sorted((one for one in found if one.state.is_finished() and one.datetime_complete), key=_end)
    return [_done(one) for one in ended]


def _end(trial: FrozenTrial) -> Any:
    return trial.datetime_complete


def _done(trial: FrozenTrial) -> Done:
    assert trial.duration is not None
    point = None
    if trial.state is TrialState.COMPLETE:
        accuracy, latency, size = trial.values
        point = (1 - accuracy, math.log(latency), math.log(size))
    return Done({key: str(one) for key, one in trial.params.items()}, trial.duration.total_seconds(), trial.state, point)


def main() -> None:
    """Run grid and searches, print and write the tables; exit 1 where the target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--searches", type=int, default=3, help="of different seeds (3)")
    parser.add_argument("--remark", default="", help="a sentence for the page, such as what else the machine did")
    options = parser.parse_args()
    grid = trials(["sweep.sampler=brute_force", f"sweep.n_trials={_MANY}", "sweep.stopper=none"])
    points = {one.key: one.point for one in grid if one.point is not None}
    if len(points) < len(grid):
        sys.exit(f"{len(grid) - len(points)} points of the grid came to nothing")
    whole, reference = sum(one.seconds for one in grid), _worst(list(points.values()))
    front = [one for one in grid if one.point and not any(_dominates(other, one.point) for other in points.values() if other)]
    narrow = _worst([one.point for one in front])
    most, most_narrow = (hypervolume(list(points.values()), one) for one in (reference, narrow))
    print(f"grid: {len(grid)} trials, {whole:.0f} s", file=sys.stderr)
    rows, missed = [], 0
    for seed in range(options.searches):
        limits = [f"sweep.seconds={whole * MOST_TIME:.0f}", f"sweep.n_trials={_MANY}", f"sweep.seed={seed}"]
        found = trials(limits)
        reached, at, spent, seen = 0.0, None, 0.0, []
        for one in found:
            spent += one.seconds
            if spent > whole * MOST_TIME:
                break
            # What it measured may differ from what the grid did: it is which experiments it finds that is held against the grid.
            seen += [points[one.key]] if one.point is not None else []
            reached = hypervolume(seen, reference) / most
            at = spent if at is None and reached >= LEAST_SHARE else at
        missed += reached < LEAST_SHARE
        states = [one.state for one in found]
        rows.append(
            [
                str(seed),
                str(len({one.key for one in found})),
                str(states.count(TrialState.PRUNED)),
                f"{100 * reached:.1f} %",
                f"{100 * hypervolume(seen, narrow) / most_narrow:.1f} %",
                "-" if at is None else f"{100 * at / whole:.0f} %",
            ]
        )
        print(rows[-1], file=sys.stderr)
    lines = [
        f"A grid of {len(grid)} experiments takes {whole:.0f} trial-seconds, one at a time. A search of the same space by",
        f"`sweeps=pareto` (TPE, successive halving by non-dominated rank) gets a third of that, {whole * MOST_TIME:.0f} s, its own time",
        "included, and runs what it likes. The volume is that of what its finished trials dominate in the error on validation data, the",
        "logarithm of the latency and that of the file's bytes, up to the grid's worst in each, with the values that the grid measured. A harder",
        "measure beside it: up to the worst that nothing dominates, so that only what is close to the front counts at all.",
        "",
        f"    python run.py -m {' '.join(_SEARCH)} sweep.seconds={whole * MOST_TIME:.0f}",
        "",
        *_report.table(
            [
                "seed",
                "experiments tried",
                "trials stopped early",
                "of the grid's volume",
                "of its front's alone",
                "95 % reached after, of the grid's time",
            ],
            rows,
        ),
        "",
        f"Asked for: {100 * LEAST_SHARE:.0f} % in at most {100 * MOST_TIME:.0f} % of the time. "
        f"{options.searches - missed} of {options.searches} searches reach it.",
        "",
        *([options.remark, ""] if options.remark else []),
        "What none of the grid dominates:",
        "",
        *_report.table(["experiment", "accuracy", "latency", "file"], [_told(one) for one in front]),
        "",
        "All of the grid:",
        "",
        *_report.table(
            ["experiment", "accuracy", "latency", "file", "s"], [[*_told(one), f"{one.seconds:.1f}"] for one in grid]
        ),
    ]
    _report.publish("pareto_hypervolume", "A third of a grid's time", lines, options.results)
    sys.exit(missed > 0)


def _worst(points: Sequence[Point | None]) -> Point:
    """Just behind the worst of each coordinate, so that even the worst counts a little."""
    kept = [one for one in points if one is not None]
    bounds = [(min(axis), max(axis)) for axis in zip(*kept, strict=True)]
    return tuple(high + 0.01 * (high - low or 1) for low, high in bounds)


def _dominates(first: Point, second: Point) -> bool:
    return first != second and all(one <= other for one, other in zip(first, second, strict=True))


def _told(one: Done) -> list[str]:
    assert one.point is not None
    error, latency, size = one.point
    name = " ".join(f"{key}={value}" for key, value in one.values.items())
    return [f"`{name}`", f"{100 * (1 - error):.1f} %", f"{math.exp(latency):.3g} ms", f"{math.exp(size):.3g} MiB"]


if __name__ == "__main__":
    main()
