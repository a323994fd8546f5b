"""A search: trials proposed one by one, each an experiment in a worker of its own, until there are enough of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.config.compose import compose
from thrifty.config.registry import ONLY_WITH
from thrifty.config.space import Dimension, Space, label, space_of
from thrifty.config.sweep import Sweep
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import BadConfiguration, OutOfMemory, ThriftyError
from thrifty.execution.launch import Outcome
from thrifty.stop import HOPELESS
from thrifty.store import SHARED, utc_stamp
from thrifty.sweeps.directory import check_one_command, held, shared, sweep_directory
from thrifty.sweeps.ended import tell_logger
from thrifty.sweeps.executors import executor_of
from thrifty.sweeps.loop import Loop
from thrifty.sweeps.memory_order import needs_as_much
from thrifty.sweeps.objectives import Constraint, Objective, constraint_of, objective_of, value_in
from thrifty.sweeps.planned import Planned
from thrifty.sweeps.runs import Runs
from thrifty.sweeps.samplers import sampler_of
from thrifty.sweeps.stopping import check_stopper, stopping_of
from thrifty.sweeps.storage import JOURNAL
from thrifty.sweeps.study import Study, Trial
from thrifty.sweeps.view import View

_COMPARED = ("seed", "budget.flops")
"""Keys over which all trials are told together."""


@dataclass(frozen=True)
class SearchResult:
    """What a search has come to."""

    directory: Path
    objectives: list[Objective]
    constraints: list[Constraint]
    trials: list[Trial]
    best: list[Trial]
    importances: dict[str, float]
    records: dict[str, dict[str, Any]]
    """By the run's name."""
    exit_code: int


def run_search(arguments: Sequence[str], view: View) -> SearchResult:
    """Search until there are as many trials as asked for, or the time is spent; a stop ends it, and `sweep.resume` goes on.

    A trial that fails is a record with its reason, and told to the sampler.

    Raises:
        BadConfiguration, BadData, Unsupported: before any trial starts.
    """
    asked = sweep_of(arguments)
    assert asked.name is not None
    settings, space = asked.settings, space_of(asked.overrides).searched()
    objectives = [objective_of(one) for one in settings.objectives]
    constraints = [constraint_of(one) for one in settings.constraints]
    _check(asked.name, settings, space, objectives)
    begin = {one.key: _ends(one)[0] for one in space.dimensions}
    first = compose(space.point(begin))
    check_one_command([first])
    check_stopper(settings, objectives, first)
    store = Path(first.store)
    resumed = None if settings.resume is None else sweep_directory(store, settings.resume)
    if resumed is None or not (resumed / JOURNAL).is_file():  # else it was checked when it began, and may have no other space
        _check_ends(space, begin)
    title = Path(asked.name).stem
    directory = resumed or store / "sweeps" / f"{utc_stamp()}-{title}"
    sampler_of(settings.sampler, settings.seed, len(objectives))  # what it lacks is told before anything is written
    place = store / SHARED / directory.name
    executor = executor_of(settings, [first], place)
    if settings.storage is None:
        directory.mkdir(parents=True, exist_ok=True)
    with held(directory), shared(place):
        study = Study(directory, title, settings, space, objectives, constraints)
        runs = Runs(directory, store if settings.reuse else None, executor.cores)
        view.begin(settings.n_trials, settings.seconds)
        try:
            loop = Loop(_Search(settings, space, study), executor, runs, view, directory.name)
            exit_code = loop.run()
        finally:
            executor.close()
            view.close()
    best = _each_run_once(study.best())
    # Reading all takes long where there are very many: only where there is something to tell of them.
    all_matter = loop.made > 0 or any(one.key in _COMPARED for one in space.dimensions)
    read = runs.all() if all_matter else runs.named(one.run for one in best if one.run is not None)
    records = {path.name: record for path, record in read}
    importances = study.importances()
    found = {f"importance/{key}": share for key, share in importances.items()} | {"pareto_set": float(len(best))}
    if len(objectives) == 1 and best and best[0].values is not None:
        found |= {f"best/{objectives[0].metric.name}": best[0].values[0]}
    what = {
        "overrides": list(asked.overrides),
        "objectives": [one.text for one in objectives],
        "constraints": [one.text for one in constraints],
    }
    if loop.made:
        tell_logger(first.logger, directory, what, list(records.values()), found)
    return SearchResult(
        directory, objectives, constraints, study.trials(), best, importances, records, exit_code or (0 if best else 1)
    )


def _each_run_once(trials: Sequence[Trial]) -> list[Trial]:
    """Of trials that came to the same experiment the first."""
    found: dict[str | int, Trial] = {}
    for one in trials:
        found.setdefault(one.number if one.run is None else one.run, one)
    return list(found.values())


def _check(name: str, settings: Sweep, space: Space, objectives: Sequence[Objective]) -> None:
    if not space.dimensions:
        raise BadConfiguration(
            f"sweeps={name}: nothing varies; give a key several values, such as 'optimizer.lr=interval(1e-4,1e-1)'"
        )
    if not objectives:
        raise BadConfiguration(f"sweeps={name}: has no objective; give sweep.objectives=[validation/loss]")
    if settings.n_trials is None and settings.seconds is None:
        raise BadConfiguration(f"sweeps={name}: would never end; give sweep.n_trials or sweep.seconds")


def _check_ends(space: Space, begin: dict[str, str]) -> None:
    """A value that cannot be is found now and not after hours."""
    for dimension in space.dimensions:
        for value in _ends(dimension):
            end = begin | _method_for(dimension, space) | {dimension.key: value}
            if end != begin:
                compose(space.point(end))


def _method_for(dimension: Dimension, space: Space) -> dict[str, str]:
    """Of the methods that vary one that a key goes with, where it does not go with all."""
    allowed = ONLY_WITH.get(dimension.key.partition(".")[0])
    methods = next((one.values for one in space.dimensions if one.key == "method"), ())
    fitting = [one for one in methods if allowed is not None and one in allowed]
    return {"method": fitting[0]} if fitting else {}


def _ends(dimension: Dimension) -> list[str]:
    """The values of a dimension, or the ends of an interval."""
    if dimension.values:
        return list(dimension.values)
    of = dimension.numbers
    assert of is not None
    return [of.text(of.low), of.text(of.high)]


class _Search:
    """A plan of trials that a study proposes, until there are enough of them or the time is spent."""

    def __init__(self, settings: Sweep, space: Space, study: Study) -> None:
        self.settings, self.space, self.study = settings, space, study
        self._end = None if settings.seconds is None else time.monotonic() + settings.seconds
        self._ended = len(study.trials())
        self._open = 0

    def next(self) -> Planned | None:
        wanted = self.settings.n_trials
        if wanted is not None and self._made() >= wanted:
            return None
        if self.study.exhausted or (self._end is not None and time.monotonic() >= self._end):
            return None
        proposal = self.study.propose()
        self._open += 1
        called = label(proposal.values)
        overrides = self.space.point(proposal.values)
        less = next((one for one in self.study.out_of_memory() if needs_as_much(proposal.values, one.values)), None)
        if less is not None:
            why = f"needs at least as much memory as trial {less.number}, which ran out of it"
            return Planned(proposal.number, called, overrides, None, Outcome(OutOfMemory.exit_code, None, None, why))
        try:
            stopping = stopping_of(self.settings, str(self.study.directory), self.study.name, proposal.number)
            return Planned(proposal.number, called, overrides, compose(overrides), stopping=stopping)
        except ThriftyError as error:  # values that do not go together
            return Planned(proposal.number, called, overrides, None, Outcome(error.exit_code, None, None, str(error)))

    def _made(self) -> int:
        """Trials that have ended or go on, those of other machines included."""
        return self.study.made_anywhere() if self.study.shared else self._ended + self._open

    def ended(self, one: Planned, outcome: Outcome) -> str | None:
        self._open -= 1
        self._ended += 1
        return tell(self.study, one.key, outcome)

    def left(self, one: Planned) -> None:
        self._open -= 1
        self.study.left(one.key)

    def so_far(self) -> str:
        best = self.study.best_so_far
        if not best:
            return ""
        if len(self.study.objectives) > 1:
            return f"{len(best)} in the Pareto set"
        values = best[0].values
        assert values is not None
        return f"best {self.study.objectives[0].metric.name} {values[0]:.4g}, of trial {best[0].number}"


def tell(study: Study, number: int, outcome: Outcome) -> str | None:
    """Tell a study what became of a trial; returns why it failed, where it did."""
    record, run = outcome.record, None if outcome.path is None else outcome.path.name
    if record is not None and HOPELESS in record["flags"]:
        study.stopped(number, run, record["reason"])
        return None
    if record is None or record["status"] != "ok":
        reason = outcome.message or (f"{record['status']}: {record['reason']}" if record else "no record")
        if _ran_out_of_memory(outcome):
            study.did_not_fit(number, run, reason)
        else:
            study.failed(number, run, reason)
        return reason
    assert run is not None
    found = [value_in(record, one.metric.name) for one in study.objectives]
    bounds = {one.text: (one, *value_in(record, one.metric.name)) for one in study.constraints}
    missing = [why for value, why in found if value is None] + [why for _, value, why in bounds.values() if value is None]
    if missing:
        study.failed(number, run, missing[0])
        return missing[0]
    excesses = {text: one.excess(value) for text, (one, value, _) in bounds.items() if value is not None}
    study.succeeded(number, run, [value for value, _ in found if value is not None], excesses)
    return None


def _ran_out_of_memory(outcome: Outcome) -> bool:
    """As its record says, or, where it came to none, its exit code, which a process that was killed has as well."""
    if outcome.record is not None:
        return outcome.record["status"] == "oom"
    return outcome.exit_code == OutOfMemory.exit_code and not outcome.killed
