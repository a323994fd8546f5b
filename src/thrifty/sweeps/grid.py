"""A grid: every combination of the values given, each in a worker of its own; one that fails does not end the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thrifty.config.compose import compose
from thrifty.config.space import space_of
from thrifty.config.sweep import Stopper
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import BadConfiguration
from thrifty.execution.launch import Outcome
from thrifty.store import SHARED, utc_stamp
from thrifty.sweeps.directory import check_one_command, held, shared, sweep_directory
from thrifty.sweeps.ended import tell_logger
from thrifty.sweeps.executors import executor_of
from thrifty.sweeps.loop import Loop
from thrifty.sweeps.planned import Planned
from thrifty.sweeps.runs import Runs
from thrifty.sweeps.view import View

_OF_A_SEARCH = ("objectives", "constraints", "n_trials", "seconds", "storage")


@dataclass(frozen=True)
class GridResult:
    """What became of a grid."""

    directory: Path
    outcomes: list[Outcome]
    """Of the experiments that ended or were found, in the order of the grid."""
    size: int
    """Experiments in the grid."""
    stopped: int
    """Exit code of the signal that ended it, or 0."""

    @property
    def exit_code(self) -> int:
        """The first exit code that is not 0, or 0."""
        return self.stopped or next((outcome.exit_code for outcome in self.outcomes if outcome.exit_code), 0)


def run_grid(arguments: Sequence[str], view: View) -> GridResult:
    """Run every experiment of a grid.

    Every combination is composed before the first starts, so that a wrong value costs nothing. A stop ends the grid; `sweep.resume` goes
    on with it.
    """
    asked = sweep_of(arguments)
    settings = asked.settings
    if asked.name is not None:
        raise BadConfiguration(f"sweeps={asked.name}: is a search, not a grid")
    for key in _OF_A_SEARCH:
        if getattr(settings, key):
            raise BadConfiguration(f"sweep.{key}: goes with a search, sweeps=NAME; a grid runs all of its experiments")
    if settings.stopper is not Stopper.none:
        raise BadConfiguration(
            "sweep.stopper: goes with a search, sweeps=NAME; a grid runs all of its experiments to their end"
        )
    grid = space_of(asked.overrides).grid()
    planned = [
        Planned(number, label, overrides, compose(overrides))
        for number, (label, overrides) in enumerate(zip(_labels(grid), grid, strict=True), 1)
    ]
    configs = [one.config for one in planned if one.config is not None]
    check_one_command(configs)
    store = Path(configs[0].store)
    resumed = None if settings.resume is None else sweep_directory(store, settings.resume)
    name = f"{utc_stamp()}-grid" if resumed is None else resumed.name
    directory, place = resumed or store / "sweeps" / name, store / SHARED / name
    executor = executor_of(settings, configs, place)
    plan = _Grid(planned)
    with held(directory), shared(place):
        runs = Runs(directory, store if settings.reuse else None, executor.cores)
        view.begin(len(grid), None)  # nothing refuses any more: a picture that is begun has to be taken away
        try:
            stopped = Loop(plan, executor, runs, view, name).run()
        finally:
            executor.close()
            view.close()
    outcomes = [plan.outcomes[key] for key in sorted(plan.outcomes)]
    records = [one.record for one in outcomes if one.record is not None]
    tell_logger(configs[0].logger, directory, {"overrides": list(asked.overrides)}, records)
    return GridResult(directory, outcomes, len(grid), stopped)


def _labels(grid: Sequence[Sequence[str]]) -> list[str]:
    """What sets each experiment apart from the others; all of it where there is one."""
    varying = [len(set(column)) > 1 for column in zip(*grid, strict=True)]
    return [
        " ".join(one for one, varies in zip(overrides, varying, strict=True) if varies or not any(varying))
        for overrides in grid
    ]


class _Grid:
    """A plan of experiments that are all known beforehand."""

    def __init__(self, planned: Sequence[Planned]) -> None:
        self._queue = list(reversed(planned))
        self.outcomes: dict[int, Outcome] = {}

    def next(self) -> Planned | None:
        return self._queue.pop() if self._queue else None

    def ended(self, one: Planned, outcome: Outcome) -> str | None:
        self.outcomes[one.key] = outcome
        return None

    def left(self, one: Planned) -> None:
        """It has left a record, or was not begun: the directory says which."""

    def so_far(self) -> str:
        return ""
