"""A search as Optuna keeps it: it proposes trials, is told what became of them, and outlives the process that asks.

Source: Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", 2019.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.config.space import Dimension, Space
from thrifty.config.sweep import Sweep
from thrifty.errors import BadConfiguration, BadData, Unsupported
from thrifty.record import NOT_IDENTITY
from thrifty.sweeps.objectives import MAXIMIZE, Constraint, Objective
from thrifty.sweeps.samplers import sampler_of
from thrifty.sweeps.storage import (
    DRIVERS,
    first_line,
    quietly,
    read_at_once,
    storage_at,
    while_others_begin_it,
    without_password,
)

if TYPE_CHECKING:
    import optuna

ASKED_AGAIN = "asked again"
"""Attribute of a trial that was given up, to be made as another."""
_MOST_FOR_IMPORTANCES = 200
_WHAT, _WHERE, _RUN, _REASON = "thrifty", "sweep", "run", "reason"
_IMPORTANCES = "importances"
_FITS = "fits in memory"
"""Constraint that a trial breaks by running out of memory."""


@dataclass(frozen=True)
class Proposal:
    """A trial to be made."""

    number: int
    values: dict[str, str]
    """Of every key that varies, as it is typed."""


@dataclass(frozen=True)
class Trial:
    """A trial that has ended."""

    number: int
    run: str | None
    """Name of its run's directory; None where it has none."""
    values: tuple[float, ...] | None
    """Of the objectives; None where it failed."""
    feasible: bool
    reason: str | None
    """Why it failed, or was stopped."""
    stopped: bool = False
    """Whether it was ended early, as it was hopeless."""


class Study:
    """Opens a search in a sweep's directory, or in the storage its settings name; begins it where there is none.

    Args:
        name: of the search in its storage.

    Raises:
        BadConfiguration: the storage holds another search under this name.
        BadData: the storage cannot be reached or read.
        Unsupported: a library that a sampler or storage needs is not installed.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        settings: Sweep,
        space: Space,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.directory, self.name = directory, name
        self.objectives, self.constraints = list(objectives), list(constraints)
        self._dimensions = {one.key: one for one in space.dimensions}
        self._distributions = {one.key: _distribution(one) for one in space.dimensions}
        what = {
            "space": [
                one if isinstance(one, str) else [one.key, one.typed or list(one.values)]
                for one in space.parts
                if not (isinstance(one, str) and one.lstrip("+").partition("=")[0].partition(".")[0] in NOT_IDENTITY)
            ],
            "objectives": [one.text for one in objectives],
            "constraints": [one.text for one in constraints],
        }
        where = "storage" if settings.storage is None else f"sweep.storage={without_password(settings.storage)}"
        directions: list[Any] = [one.direction for one in objectives]

        def opened() -> tuple[optuna.Study, dict[str, Any] | None]:
            storage = storage_at(settings.storage, directory)
            study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
            before = study.user_attrs.get(_WHAT)
            if before is None:
                study.set_user_attr(_WHAT, what)
                with quietly():
                    study.set_metric_names([one.metric.name for one in objectives])
            return study, before

        try:
            with read_at_once():
                self._study, before = opened() if settings.storage is None else while_others_begin_it(opened)
        except ModuleNotFoundError as error:
            missing = error.name or "a library"
            raise Unsupported(f"{where}: needs {missing}; pip install {DRIVERS.get(missing, missing)}") from error
        except Exception as error:  # whatever a database's library raises
            raise BadData(f"{where}: cannot be opened ({first_line(error, settings.storage)})") from error
        if before is not None and before != what:
            changed = [key for key in what if before.get(key) != what[key]]
            raise BadConfiguration(
                f"{where}: holds a search named {name} with other {' and '.join(changed)}; go on with what it began with, or begin a new one"
            )
        self._finished: dict[int, Trial | None] = {}
        """What those that have ended came to, which nothing changes any more."""
        self.exhausted = False
        """Whether the sampler has proposed all there is."""
        self._study.stop = self._stop  # how a sampler says so, though Optuna means its own loop by it
        self._open: dict[int, optuna.trial.Trial] = {}
        """Trials that were proposed and not ended."""
        self.shared = settings.storage is not None
        """Whether searches of other directories may be in the same storage."""
        self._requeue(everything=not self.shared)
        self.best_so_far = self.best()
        """As this process knows it."""
        self._study.sampler = sampler_of(settings.sampler, self._seed(settings), len(objectives))

    def _seed(self, settings: Sweep) -> int:
        """Mixed with how far it is, as the same seed would propose the same points again; and where several processes share a storage
        with which of them it is, as those that begin together would propose the same points as each other.
        """
        who = f"{platform.node()} {self.directory.name}" if settings.storage is not None else ""
        share = int(hashlib.sha256(who.encode()).hexdigest()[:7], 16) if who else 0
        return settings.seed + len(self._study.get_trials(deepcopy=False)) + share

    def _stop(self) -> None:
        self.exhausted = True

    def _requeue(self, everything: bool) -> None:
        """Trials of this directory that nobody ended: their process is gone, as the directory has one process at a time.

        Args:
            everything: whether there are no others, so that a directory may be called something else by now.
        """
        from optuna.trial import Trial as OpenTrial
        from optuna.trial import TrialState

        for one in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if everything or one.user_attrs.get(_WHERE) == self.directory.name:
                self._open[one.number] = OpenTrial(self._study, one._trial_id)
                self.left(one.number)

    def propose(self) -> Proposal:
        """The next trial."""
        with quietly():
            trial = self._study.ask(self._distributions)
        if self.shared:
            trial.set_user_attr(_WHERE, self.directory.name)
        self._open[trial.number] = trial
        return Proposal(trial.number, self._as_typed(trial.params))

    def succeeded(self, number: int, run: str, values: Sequence[float], excesses: Mapping[str, float]) -> None:
        """Tell what a trial came to.

        Args:
            excesses: of each constraint by its text, by how much it was broken; at most 0 where it was kept.
        """
        trial = self._open.pop(number)
        trial.set_user_attr(_RUN, run)
        with quietly():
            for name, excess in {**excesses, _FITS: -1.0}.items():
                trial.set_constraint(name, excess)
            self._study.tell(trial, list(values))
        made = Trial(number, run, tuple(values), all(excess <= 0 for excess in excesses.values()), None)
        self.best_so_far = self._with(self.best_so_far, made)

    def failed(self, number: int, run: str | None, reason: str) -> None:
        """Tell that a trial came to nothing, and why."""
        from optuna.trial import TrialState

        self._study.tell(self._closed(number, run, reason), state=TrialState.FAIL)

    def did_not_fit(self, number: int, run: str | None, reason: str) -> None:
        """Tell that a trial ran out of memory, so that samplers keep away from where it was.

        Samplers pass over a trial that has failed: with TPE and GP such ones go on to be proposed. What they all learn from is one that is
        complete and breaks a constraint; then it needs values, which are the worst there are, and are shown to nobody.
        """
        others = [one.values for one in self.trials() if one.values is not None]
        worst = [self._worst(place, others) for place in range(len(self.objectives))]
        trial = self._closed(number, run, reason)
        with quietly():
            trial.set_constraint(_FITS, 1.0)
            for one in self.constraints:  # as all trials have to have the same for GP
                trial.set_constraint(one.text, 0.0)
            self._study.tell(trial, worst)

    def out_of_memory(self) -> list[Proposal]:
        """The trials that ran out of memory here: another machine of a shared storage may have less."""
        ended = self._study.get_trials(deepcopy=False)
        return [
            Proposal(one.number, self._as_typed(one.params))
            for one in ended
            if one.constraints.get(_FITS, 0.0) > 0 and (not self.shared or one.user_attrs.get(_WHERE) == self.directory.name)
        ]

    def _as_typed(self, params: Mapping[str, Any]) -> dict[str, str]:
        return {key: _typed(self._dimensions[key], value) for key, value in params.items()}

    def _worst(self, place: int, values: Sequence[Sequence[float]]) -> float:
        of = [one[place] for one in values]
        if not of:
            return 0.0
        return min(of) if self.objectives[place].direction == MAXIMIZE else max(of)

    def _closed(self, number: int, run: str | None, reason: str) -> optuna.trial.Trial:
        """A trial that is no longer open, and has no values of its own."""
        trial = self._open.pop(number)
        if run is not None:
            trial.set_user_attr(_RUN, run)
        trial.set_user_attr(_REASON, reason)
        return trial

    def stopped(self, number: int, run: str | None, reason: str) -> None:
        """Tell that a trial was ended early, as it was hopeless: it has no values, and samplers learn from that."""
        from optuna.trial import TrialState

        with quietly():
            self._study.tell(self._closed(number, run, reason), state=TrialState.PRUNED)

    def left(self, number: int) -> None:
        """A trial is given up, to be made when the search goes on."""
        from optuna.trial import TrialState

        trial = self._open.pop(number)
        self._study.enqueue_trial(trial.params, skip_if_exists=False)
        trial.set_user_attr(ASKED_AGAIN, True)
        self._study.tell(trial, state=TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All that have ended, in the order in which they were proposed."""
        ended = map(self._ended, self._study.get_trials(deepcopy=False))
        return [one for one in ended if one is not None]

    def _ended(self, one: optuna.trial.FrozenTrial) -> Trial | None:
        if one.number not in self._finished:
            if not one.state.is_finished():
                return None
            self._finished[one.number] = self._came_to(one)
        return self._finished[one.number]

    @staticmethod
    def _came_to(one: optuna.trial.FrozenTrial) -> Trial | None:
        """None is one that was given up, and is made again as another."""
        if one.user_attrs.get(ASKED_AGAIN):
            return None
        stopped, reason = one.state.name == "PRUNED", one.user_attrs.get(_REASON)
        # Those of one that has a reason are none: Optuna takes what it has reported last, or we have given it some.
        values = tuple(one.values) if one.values is not None and reason is None else None
        feasible = values is None or all(value <= 0 for value in one.constraints.values())
        return Trial(one.number, one.user_attrs.get(_RUN), values, feasible, reason, stopped)

    def made_anywhere(self) -> int:
        """Trials that have ended or go on, in this directory or another that shares the storage."""
        from optuna.trial import TrialState

        trials = self._study.get_trials(deepcopy=False)
        return sum(one.state is TrialState.RUNNING or self._ended(one) is not None for one in trials)

    def best(self) -> list[Trial]:
        """The Pareto set of those that keep every constraint: one, of one objective, unless several are equally good."""
        best: list[Trial] = []
        for one in self.trials():
            best = self._with(best, one)
        return best

    def _with(self, best: list[Trial], one: Trial) -> list[Trial]:
        """The best of those and one more: only they have to be looked at, however many trials there were."""
        if one.values is None or not one.feasible or any(self._dominates(other, one) for other in best):
            return best
        return [*(other for other in best if not self._dominates(one, other)), one]

    def _dominates(self, first: Trial, second: Trial) -> bool:
        assert first.values is not None
        assert second.values is not None
        pairs = list(zip(self.objectives, first.values, second.values, strict=True))
        return any(one.better(mine, other) for one, mine, other in pairs) and not any(
            one.better(other, mine) for one, mine, other in pairs
        )

    def importances(self) -> dict[str, float]:
        """Share of the first objective's variation that each key accounts for; empty where there are too few trials to tell.

        By a functional analysis of variance over a forest (Hutter, Hoos and Leyton-Brown, 2014), whose time grows faster than the trials:
        of very many it sees some, spread evenly over the search.
        """
        import optuna

        ended = len(self.trials())
        kept = self._study.user_attrs.get(_IMPORTANCES)
        if kept is not None and kept["trials"] == ended:
            return kept["shares"]
        complete = [
            one
            for one in self._study.get_trials(deepcopy=False)
            if one.state == optuna.trial.TrialState.COMPLETE and _REASON not in one.user_attrs
        ]
        every = -(-len(complete) // _MOST_FOR_IMPORTANCES) or 1
        seen = optuna.create_study(directions=self._study.directions[:1])
        try:
            with quietly():
                for one in complete[::every]:
                    seen.add_trial(
                        optuna.trial.create_trial(params=one.params, distributions=one.distributions, value=one.values[0])
                    )
                evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
                shares = dict(optuna.importance.get_param_importances(seen, evaluator=evaluator))
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}
        self._study.set_user_attr(_IMPORTANCES, {"trials": ended, "shares": shares})
        return shares


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    of = dimension.numbers
    if of is None:
        return CategoricalDistribution(dimension.values)
    if of.whole:
        return IntDistribution(int(of.low), int(of.high), log=of.log, step=1 if of.log else int(of.step or 1))
    return FloatDistribution(of.low, of.high, log=of.log, step=None if of.log else of.step)


def _typed(dimension: Dimension, value: Any) -> str:
    return str(value) if dimension.numbers is None else dimension.numbers.text(value)
