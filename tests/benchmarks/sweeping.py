"""What a sweep costs beside its trainings: python tests/benchmarks/sweeping.py"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import _report
from _commands import RUN, THRIFTY, output_of

from thrifty.config.compose import compose
from thrifty.config.space import space_of
from thrifty.config.sweep_files import sweep_of
from thrifty.record import config_hash
from thrifty.sweeps.executors import executor_of
from thrifty.sweeps.loop import Loop
from thrifty.sweeps.objectives import objective_of
from thrifty.sweeps.planned import Planned
from thrifty.sweeps.runs import Runs
from thrifty.sweeps.study import Study
from thrifty.sweeps.view import View

MOST_SECONDS = {"logger=none": 0.8, "logger=wandb": 1.2}
"""A trial of wall time, on two workers."""
MOST_SECONDS_AMONG_MANY = 2.0
MOST_SHARE = 0.7
SPREADS = (16, 32)
"""The longest training by the shortest; which shares are possible at all is told beside."""
_SHORTEST = 300
_SMALL = ("task=tabular", "model=nano", "budget.steps=50", "measure=none")


def trials(count: int, logger: str) -> float:
    """Seconds of the whole command for each of so many trials on two workers."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        output_of([*RUN, "-m", *_SMALL, logger, f"seed=range(0,{count})", "sweep.parallel=2"], folder)
        taken = time.perf_counter() - begin
        statuses = [json.loads(one.read_text())["status"] for one in Path(folder).glob("results/sweeps/*/*/result.json")]
    if statuses != ["ok"] * count:
        sys.exit(f"{count} trials: ended as {statuses}")
    return taken / count


def among_many(count: int) -> dict[str, float]:
    """Seconds of what is asked for where so many trials are finished already."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        search = ("sweeps=learning_rate", "logger=none", "sweep.sampler=random")
        output_of([*RUN, "-m", *search, "sweep.n_trials=1"], folder)
        (directory,) = Path(folder).glob("results/sweeps/*")
        (run,) = (one.parent for one in directory.glob("*/result.json"))
        study = _filled(directory, run, search, count)
        study.importances()  # as the end of the search that made them has left it
        begin = time.perf_counter()
        study.propose()
        found["ask"] = time.perf_counter() - begin
        begin = time.perf_counter()
        output_of([*RUN, "-m", *search, f"sweep.n_trials={count}", f"sweep.resume={directory}"], folder)
        found["resume, and find that nothing is left to do"] = time.perf_counter() - begin
        begin = time.perf_counter()
        output_of([*THRIFTY, "list", "--last", "20"], folder)
        found["`thrifty list --last 20`"] = time.perf_counter() - begin
        begin = time.perf_counter()
        output_of([*THRIFTY, "list"], folder)
        found["`thrifty list`"] = time.perf_counter() - begin
    return found


def _filled(directory: Path, run: Path, search: Sequence[str], count: int) -> Study:
    """The sweep's directory with so many trials: copies of its first, each of a configuration of its own."""
    asked = sweep_of(search)
    objectives = [objective_of(one) for one in asked.settings.objectives]
    space = space_of(asked.overrides)
    record = json.loads((run / "result.json").read_text())
    study = Study(directory, "learning_rate", asked.settings, space, objectives, [])
    config = record["config"]
    for number in range(1, count):
        proposal = study.propose()
        config["optimizer"]["lr"] = float(proposal.values["optimizer.lr"])
        config["schedule"]["name"] = proposal.values["schedule"]
        its_hash = config_hash(config)
        name = f"20260101T{number:09d}Z-tabular-mlp-nano-train-{its_hash[:12]}"
        path = directory / name
        path.mkdir()
        made = record | {"id": name, "config": config, "config_hash": its_hash}
        (path / "result.json").write_text(json.dumps(made))
        study.succeeded(proposal.number, name, [0.1 + number / count], {})
    return study


class _Plan:
    """Trainings of uneven length; with a barrier, the next two begin when both before them have ended."""

    def __init__(self, steps: Sequence[int], barrier: bool) -> None:
        self.queue = [self._planned(number, one) for number, one in enumerate(steps)]
        self.barrier, self.open, self.begun = barrier, 0, 0

    @staticmethod
    def _planned(number: int, steps: int) -> Planned:
        overrides = ["task=tabular", "model=nano", f"budget.steps={steps}", f"seed={number}", "measure=none", "logger=none"]
        return Planned(number, str(number), overrides, compose(overrides))

    def next(self) -> Planned | None:
        if not self.queue or (self.barrier and self.open and self.begun % 2 == 0):
            return None
        self.open += 1
        self.begun += 1
        return self.queue.pop(0)

    def ended(self, one: Planned, outcome: Any) -> str | None:
        self.open -= 1
        return None

    def left(self, one: Planned) -> None:
        sys.exit("stopped")

    def so_far(self) -> str:
        return ""


class _AnyView:
    def __getattr__(self, name: str) -> Any:
        return lambda *given: None


_SILENT = cast(View, _AnyView())
"""Shows nothing."""


def uneven(steps: Sequence[int], barrier: bool) -> float:
    """Seconds of all, on two workers that are ready."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        plan = _Plan(steps, barrier)
        configs = [one.config for one in plan.queue if one.config is not None]
        executor = executor_of(sweep_of(["sweep.parallel=2"]).settings, configs, place / "shared")
        (place / "shared").mkdir()
        try:
            Loop(_Plan([1, 2], barrier=False), executor, Runs(place / "first", None, executor.cores), _SILENT, "g").run()
            begin = time.perf_counter()
            Loop(plan, executor, Runs(place / "runs", None, executor.cores), _SILENT, "g").run()
            return time.perf_counter() - begin
        finally:
            executor.close()


def lengths(count: int, spread: int, seed: int) -> list[int]:
    """Steps of trainings, spread evenly on a logarithmic scale over such a factor, in random order."""
    steps = [round(_SHORTEST * spread ** (number / (count - 1))) for number in range(count)]
    random.Random(seed).shuffle(steps)
    return steps


def perfect(steps: Sequence[int]) -> float:
    """The share that two workers would need who lose no time and are as fast side by side as alone, the next training going to the first
    that is free."""
    batched = sum(max(pair) for pair in zip(steps[::2], steps[1::2], strict=True))
    until = [0, 0]
    for one in steps:
        until[until.index(min(until))] += one
    return max(until) / batched


def main() -> None:
    """Measure, print and write the tables; exit 1 where a target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument(
        "--pairs", type=int, default=3, help="of sweeps with and without barriers, in turn, for each spread (3)"
    )
    parser.add_argument("--uneven", type=int, default=16, help="trainings of uneven length (16)")
    options = parser.parse_args()
    missed = False
    cost = []
    for logger, most in MOST_SECONDS.items():
        found = trials(options.trials, logger)
        missed |= found > most
        cost.append([f"{options.trials} trials, {logger}", f"{found:.2f}", f"{most:.1f}"])
        print(cost[-1], file=sys.stderr)
    for what, seconds in among_many(options.finished).items():
        missed |= seconds > MOST_SECONDS_AMONG_MANY
        cost.append([what, f"{seconds:.2f}", f"{MOST_SECONDS_AMONG_MANY:.1f}"])
        print(cost[-1], file=sys.stderr)
    rows, told = [], []
    for spread in SPREADS:
        ratios, possible = [], []
        for number in range(options.pairs):
            steps = lengths(options.uneven, spread, number)
            taken = {barrier: uneven(steps, barrier) for barrier in ((False, True) if number % 2 else (True, False))}
            ratios.append(taken[False] / taken[True])
            possible.append(perfect(steps))
            rows.append(
                [
                    str(spread),
                    str(number + 1),
                    *(f"{taken[one]:.1f}" for one in (True, False)),
                    f"{ratios[-1]:.2f}",
                    f"{possible[-1]:.2f}",
                ]
            )
            print(rows[-1], file=sys.stderr)
        mean, best = statistics.geometric_mean(ratios), statistics.geometric_mean(possible)
        missed |= mean > MOST_SHARE
        told.append([str(spread), f"{mean:.2f}", f"{best:.2f}", f"{MOST_SHARE}"])
    lines = [
        f"Seconds of wall time: for each of {options.trials} trials (`{' '.join(_SMALL)} sweep.parallel=2`), the whole command",
        f"divided by their number; the others once, where {options.finished:,} trials are finished.",
        "",
        *_report.table(["what", "s", "at most"], cost),
        "",
        f"{options.uneven} trainings of uneven length on two workers, the shortest of {_SHORTEST} steps, the longest of as many times that as",
        "the spread says: with a barrier after each two of them and without, in turn.",
        "",
        *_report.table(["spread", "pair", "with barriers, s", "without, s", "ratio", "perfect"], rows),
        "",
        *_report.table(["spread", "mean ratio", "perfect", "at most"], told),
        "",
        "Perfect: the same lengths by arithmetic, on workers that lose no time and are as fast side by side as alone.",
    ]
    _report.publish("sweeping", "What a sweep costs", lines, options.results)
    sys.exit(missed)


if __name__ == "__main__":
    main()
