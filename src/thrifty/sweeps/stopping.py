"""Ends trials that are not worth going on with, in the process that runs them: it asks the search's own storage how others did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from thrifty.config.choices.methods import Quantize
from thrifty.config.schema import Config
from thrifty.config.sweep import Stopper, Sweep
from thrifty.errors import BadConfiguration
from thrifty.events import Validated
from thrifty.sweeps.objectives import MAXIMIZE, Objective, objective_of
from thrifty.sweeps.rungs import goes_on, passed
from thrifty.sweeps.storage import first_line, quietly, storage_at
from thrifty.sweeps.study import ASKED_AGAIN

if TYPE_CHECKING:
    import optuna

_WHOLE = 100
"""Optuna's steps are percent of a training: trials whose batches differ, and so their numbers of steps, are compared all the same."""
_WARM_UP = 20
"""Percent before which median and percentile end no trial: the first steps say most of how fast the learning rate rises."""
_STAND_INS = {
    "size/": "size/parameters",
    "infer/": "infer/flops_per_sample",
    "train/time_s": "train/time_s",
    "train/step_ms": "train/time_s",
}
"""For metrics that are measured when training is over: what goes with them, and is known before. By how the metric's name begins."""
_TRAINED = "validation/"
_TIME = "train/time_s"
"""Told with every validation: of the same share of two trainings it goes with the whole."""


@dataclass(frozen=True)
class Stopping:
    """What the process that runs a trial needs to know of its search: plain values."""

    storage: str | None = field(repr=False)
    """Address of the storage, password included: it is for that process only, and never written. None is the journal."""
    directory: str
    """Of the sweep, in which the journal lies."""
    study: str
    """The search's name in its storage."""
    trial: int
    objectives: tuple[str, ...]
    """As they are written."""
    stopper: str
    reduction: int
    spared: int


def stopping_of(settings: Sweep, directory: str, study: str, trial: int) -> Stopping | None:
    """For a trial of a search; None where no trial of it is ended early."""
    if settings.stopper is Stopper.none:
        return None
    return Stopping(
        settings.storage,
        directory,
        study,
        trial,
        tuple(settings.objectives),
        settings.stopper.name,
        settings.reduction,
        settings.spared,
    )


def check_stopper(settings: Sweep, objectives: Sequence[Objective], config: Config) -> None:
    """Hold a stopper to what trials tell while they train.

    Args:
        config: of a trial.

    Raises:
        BadConfiguration: it would never hear of an objective, or cannot compare several.
    """
    if settings.stopper is Stopper.none:
        return
    given = f"sweep.stopper={settings.stopper.name}"
    if len(objectives) > 1 and settings.stopper is not Stopper.successive_halving:
        raise BadConfiguration(
            f"{given}: goes with one objective; take sweep.stopper=successive_halving for several, which goes by non-dominated rank"
        )
    reported = [f"{_TRAINED}{one}" for one in config.task.QUALITIES]
    names = [one.metric.name for one in objectives]
    if not set(names) & set(reported):
        raise BadConfiguration(
            f"{given}: {' and '.join(names)} {'is' if len(names) == 1 else 'are'} never reported while a trial of task={config.task.name} "
            f"trains; take an objective of {', '.join(reported)}, or sweep.stopper=none"
        )
    if config.method.name == "optimize":
        raise BadConfiguration(f"{given}: method=optimize trains nothing that could end early; take sweep.stopper=none")
    if isinstance(config.method, Quantize) and config.quantizer is not None and not config.quantizer.TRAINS:
        raise BadConfiguration(
            f"{given}: quantizer={config.quantizer.name} trains nothing that could end early; take sweep.stopper=none"
        )
    if not config.train.validations:
        raise BadConfiguration(
            f"{given} train.validations=0: do not go together; a trial is judged by its validations, so make some"
        )


def _stand_in(name: str) -> str | None:
    return next((other for family, other in _STAND_INS.items() if name.startswith(family)), None)


class TrialStopper:
    """Of one trial.

    Args:
        tell: takes a sentence for whoever reads along.
    """

    def __init__(self, of: Stopping, tell: Callable[[str], None]) -> None:
        self.of, self._tell = of, tell
        every = [objective_of(one) for one in of.objectives]
        stand_ins = {one.metric.name: _stand_in(one.metric.name) for one in every}
        # What is unknown until the end, and has nothing that stands in for it, decides nothing.
        self._objectives = [one for one in every if one.metric.name.startswith(_TRAINED) or stand_ins[one.metric.name]]
        self.known_before = tuple(dict.fromkeys(one for one in stand_ins.values() if one is not None and one != _TIME))
        self._last_step = 0
        self._silent = False

    def verdict(self, validated: Validated) -> str | None:
        """See `execution.stopper.Stopper`."""
        if (
            self._silent or validated.step <= self._last_step
        ):  # the second training of one trial, as a search for a sparsity makes
            self._silent = True
            return None
        self._last_step = validated.step
        try:
            with quietly():
                hopeless = self._hopeless(validated)
        except Exception as error:  # noqa: BLE001 - whatever a database's library raises: it must not fail the run
            self._silent = True
            told = first_line(error, self.of.storage)
            self._tell(f"sweep.stopper={self.of.stopper}: cannot be asked any more ({told}); the trial goes on to its end")
            return None
        return f"stopped by sweep.stopper={self.of.stopper}" if hopeless and self.of.trial >= self.of.spared else None

    @cached_property
    def _trial(self) -> optuna.Trial:
        from optuna.trial import Trial

        study = _study(self.of.storage, self.of.directory, self.of.study)
        study.pruner = pruner_of(self.of)
        return Trial(study, study.get_trials(deepcopy=False)[self.of.trial]._trial_id)

    def _hopeless(self, validated: Validated) -> bool:
        share = validated.step / validated.steps
        if len(self.of.objectives) == 1:
            self._trial.report(validated.values[self._objectives[0].metric.name], round(_WHOLE * share))
            return self._trial.should_prune()
        return self._falls_behind(share, [_loss(one, validated.values) for one in self._objectives])

    def _falls_behind(self, share: float, mine: list[float]) -> bool:
        """Optuna's trials report no values where there are several objectives: they stand among a trial's attributes."""
        before = self._trial.user_attrs
        reached = [one for one in passed(share, self.of.reduction) if _rung(one) not in before]
        for one in reached:
            self._trial.set_user_attr(_rung(one), mine)
        if not reached:
            return False
        attributes = [one.user_attrs for one in self._trial.study.get_trials(deepcopy=False) if one.number != self.of.trial]
        others = [one[_rung(reached[-1])] for one in attributes if _rung(reached[-1]) in one and ASKED_AGAIN not in one]
        return not goes_on(mine, others, self.of.reduction)


def _loss(objective: Objective, values: dict[str, float]) -> float:
    name = objective.metric.name
    if name.startswith(_TRAINED):
        return -values[name] if objective.direction == MAXIMIZE else values[name]
    stand_in = _stand_in(name)
    assert stand_in is not None
    # More operations or parameters are worse where the objective goes the metric's better way.
    wanted = objective.metric.better in ("", "higher" if objective.direction == MAXIMIZE else "lower")
    return values[stand_in] if wanted else -values[stand_in]


def _rung(number: int) -> str:
    return f"rung {number}"


def pruner_of(of: Stopping) -> optuna.pruners.BasePruner:
    """Optuna's, whose steps are percent of a training."""
    from optuna import pruners

    eta, spared = of.reduction, of.spared
    made: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        "median": lambda: pruners.MedianPruner(spared, _WARM_UP),
        "percentile": lambda: pruners.PercentilePruner(25.0, spared, _WARM_UP),
        "successive_halving": lambda: pruners.SuccessiveHalvingPruner(max(1, round(_WHOLE / eta**3)), eta),
        "hyperband": lambda: pruners.HyperbandPruner(max(1, round(_WHOLE / eta**3)), _WHOLE, eta),
        "wilcoxon": lambda: pruners.WilcoxonPruner(),
    }
    return made[of.stopper]()


@cache
def _study(storage: str | None, directory: str, name: str) -> optuna.Study:
    """Once for all trials of this process, as opening one reads all trials there are."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Nothing is proposed here: the sampler that needs least.
    return optuna.load_study(
        study_name=name, storage=storage_at(storage, Path(directory)), sampler=optuna.samplers.RandomSampler()
    )
