"""Which trials are ended early, by what they tell and what the search's storage knows of others."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import FinishedRun
from thrifty.config import registry
from thrifty.config.choices.tasks import Classification, Text
from thrifty.config.compose import compose
from thrifty.config.space import space_of
from thrifty.config.sweep import Sampler, Stopper
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import BadConfiguration
from thrifty.events import Validated
from thrifty.metrics import metric
from thrifty.sweeps.objectives import objective_of
from thrifty.sweeps.stopping import Stopping, TrialStopper, check_stopper, stopping_of
from thrifty.sweeps.study import Study

LOSS = "validation/loss: minimize"
SEVERAL = ("validation/accuracy: maximize", "infer/latency_ms: minimize", "size/file_mib: minimize")
COSTS = {"infer/flops_per_sample": 100.0, "size/parameters": 10.0}


def settings(**changed: Any) -> Any:
    of = {"sampler": Sampler.random, "stopper": Stopper.median, "spared": 0, "objectives": [LOSS], **changed}
    return dataclasses.replace(sweep_of(()).settings, **of)


class Search:
    """Trials of one study, each told by the stopper of its own."""

    def __init__(self, directory: Path, objectives: Sequence[str] = (LOSS,), **changed: Any) -> None:
        self.settings = settings(objectives=list(objectives), **changed)
        found = [*map(objective_of, objectives)]
        space = space_of(["optimizer.lr=interval(0.1,1.0)"])
        self.study = Study(directory, "name", self.settings, space, found, [])
        self.told: list[str] = []

    def trial(self) -> TrialStopper:
        number = self.study.propose().number
        of = stopping_of(self.settings, str(self.study.directory), self.study.name, number)
        assert of is not None
        assert pickle.loads(pickle.dumps(of)) == of, "it goes to another process"
        return TrialStopper(of, self.told.append)

    def run(self, *values: dict[str, float]) -> list[str | None]:
        """What is said at each of so many validations, evenly spaced; ends the trial, if that is its end."""
        one, said = self.trial(), []
        for place, some in enumerate(values, 1):
            said.append(one.verdict(Validated(place, len(values), some)))
            if said[-1] is not None and place < len(values):
                self.study.stopped(one.of.trial, "run", "stopped")
                return said
        last = [values[-1].get(name.partition(":")[0], 1.0) for name in self.settings.objectives]
        self.study.succeeded(one.of.trial, "run", last, {})
        return said


def losses(*values: float) -> list[dict[str, float]]:
    return [{"validation/loss": one} for one in values]


def test_a_trial_below_the_median_is_ended_and_no_value_of_it_counts(tmp_path: Path) -> None:
    search = Search(tmp_path, spared=3)
    for one in (1.0, 2.0, 3.0):
        assert search.run(*losses(one, one, one, one)) == [None] * 4
    assert search.run(*losses(2.5, 2.5, 2.5, 2.5)) == ["stopped by sweep.stopper=median"]
    assert search.run(*losses(1.5, 1.5, 1.5, 1.5)) == [None] * 4
    ended = search.study.trials()
    assert [(one.stopped, one.values) for one in ended[-2:]] == [(True, None), (False, (1.5,))]
    assert search.study.best()[0].values == (1.0,)
    assert not search.told


def test_the_first_trials_are_spared(tmp_path: Path) -> None:
    search = Search(tmp_path, spared=3, stopper=Stopper.successive_halving)
    said = [search.run(*losses(one, one, one, one)) for one in (1.0, 2.0, 3.0, 4.0)]
    assert [len(one) for one in said] == [4, 4, 4, 1]


def test_trials_of_other_numbers_of_steps_are_compared_at_the_same_share(tmp_path: Path) -> None:
    search = Search(tmp_path, spared=3)
    for one in (1.0, 2.0, 3.0):
        search.run(*losses(one, one, one, one))
    longer = search.trial()
    assert longer.verdict(Validated(100, 1000, losses(9.0)[0])) is None, "nobody told anything there"
    assert longer.verdict(Validated(250, 1000, losses(9.0)[0])) is not None


@pytest.mark.parametrize("stopper", [one for one in Stopper if one is not Stopper.none])
def test_every_stopper_ends_what_is_hopeless_and_nothing_else(stopper: Stopper, tmp_path: Path) -> None:
    search = Search(tmp_path, stopper=stopper, spared=4)
    down = [1 - place / 20 for place in range(12)]
    for number in range(4):
        search.run(*losses(*(one + number / 100 for one in down)))
    good = search.run(*losses(*(one - 0.1 for one in down)))
    assert good == [None] * 12
    bad = search.run(*losses(*(one + 9 for one in down)))
    assert bad[-1] == f"stopped by sweep.stopper={stopper.name}"
    assert len(bad) < 12


def test_several_objectives_go_by_rank_and_what_is_measured_later_is_stood_in_for(tmp_path: Path) -> None:
    search = Search(tmp_path, SEVERAL, stopper=Stopper.successive_halving)
    assert search.trial().known_before == ("infer/flops_per_sample", "size/parameters")

    def model(accuracy: float, costs: float) -> list[str | None]:
        values = {"validation/accuracy": accuracy} | {name: costs * one for name, one in COSTS.items()}
        return search.run(*[values] * 9)

    assert model(0.9, 10) == [None] * 9
    assert model(0.8, 5) == [None] * 9, "less good, and cheaper"
    assert model(0.7, 7) == ["stopped by sweep.stopper=successive_halving"], "one of three is better in all"
    assert model(0.95, 100) == [None] * 9
    assert model(0.85, 7) == [None] * 9
    assert [one.stopped for one in search.study.trials()] == [False, False, True, False, False]


def test_what_is_unknown_until_the_end_decides_nothing_and_time_is_known_by_its_share(tmp_path: Path) -> None:
    search = Search(tmp_path, ("validation/loss", "train/time_s", "train/peak_host_mib"), stopper=Stopper.successive_halving)
    assert search.trial().known_before == ()

    def model(loss: float, seconds: float) -> list[str | None]:
        return search.run(*[{"validation/loss": loss, "train/time_s": seconds}] * 9)

    assert model(0.5, 10) == [None] * 9
    assert model(0.6, 11) == ["stopped by sweep.stopper=successive_halving"]
    assert model(0.6, 5) == [None] * 9, "worse, and sooner there"


def test_a_trial_that_is_made_again_is_not_held_against_itself(tmp_path: Path) -> None:
    search = Search(tmp_path, SEVERAL, stopper=Stopper.successive_halving)
    first = search.trial()
    better = {"validation/accuracy": 0.9, **COSTS}
    assert first.verdict(Validated(5, 10, better)) is None
    search.study.left(first.of.trial)
    again = search.trial()
    assert again.verdict(Validated(5, 10, better | {"validation/accuracy": 0.8})) is None
    assert again.verdict(Validated(6, 10, better)) is None, "nothing is compared between rungs"


def test_the_second_training_of_one_trial_is_left_alone(tmp_path: Path) -> None:
    search = Search(tmp_path)
    for _ in range(3):
        search.run(*losses(1.0, 1.0))
    one = search.trial()
    assert one.verdict(Validated(2, 4, losses(0.5)[0])) is None
    assert [one.verdict(Validated(step, 4, losses(99.0)[0])) for step in (1, 2, 3)] == [None] * 3


def test_a_storage_that_is_gone_ends_no_trial_and_keeps_its_password(tmp_path: Path) -> None:
    told: list[str] = []
    address = f"sqlite:///{tmp_path}/me:s3cret@there/study.db"
    of = Stopping(address, str(tmp_path), "name", 3, (LOSS,), "median", 3, 0)
    assert "s3cret" not in repr(of)
    one = TrialStopper(of, told.append)
    for step in (1, 2):
        assert one.verdict(Validated(step, 4, losses(1.0)[0])) is None
    assert len(told) == 1
    assert "the trial goes on to its end" in told[0]
    assert "s3cret" not in told[0]
    assert "\n" not in told[0]


def test_without_a_stopper_nobody_is_asked() -> None:
    assert stopping_of(settings(stopper=Stopper.none), "there", "name", 1) is None


@pytest.mark.parametrize(
    ("objectives", "stopper", "overrides", "message"),
    [
        (
            ["infer/latency_ms: minimize"],
            "median",
            [],
            "infer/latency_ms is never reported while a trial of task=tabular trains",
        ),
        (
            ["size/parameters", "infer/latency_ms"],
            "successive_halving",
            [],
            "size/parameters and infer/latency_ms are never reported",
        ),
        (["validation/loss", "size/parameters"], "hyperband", [], "goes with one objective; take sweep.stopper=successive"),
        (["validation/loss"], "median", ["train.validations=0"], "train.validations=0: do not go together"),
        (["validation/loss"], "median", ["method=quantize"], "trains nothing"),
        (["validation/loss"], "median", ["method=optimize"], "trains nothing"),
        (["validation/bits_per_byte"], "median", [], "take an objective of validation/loss, validation/accuracy"),
    ],
)
def test_what_would_never_hear_of_an_objective_is_refused(
    objectives: list[str], stopper: str, overrides: list[str], message: str
) -> None:
    of = settings(objectives=objectives, stopper=Stopper[stopper])
    with pytest.raises(BadConfiguration, match=message) as caught:
        check_stopper(of, [*map(objective_of, objectives)], compose(["task=tabular", *overrides]))
    assert str(caught.value).startswith(f"sweep.stopper={stopper}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objectives", [["validation/loss"], [*SEVERAL], ["validation/accuracy", "train/peak_host_mib"]])
def test_what_trials_tell_is_taken(objectives: list[str]) -> None:
    stopper = Stopper.median if len(objectives) == 1 else Stopper.successive_halving
    check_stopper(settings(stopper=stopper), [*map(objective_of, objectives)], compose(["task=tabular"]))


def test_what_a_task_may_report_is_what_its_runs_have(tabular_run: FinishedRun, text_run: FinishedRun) -> None:
    for run, of in ((tabular_run, Classification), (text_run, Text)):
        found = {name.removeprefix("validation/") for name in run.record["metrics"] if name.startswith("validation/")}
        assert found == set(of.QUALITIES)
    for name, choice in registry.CHOICES["task"].items():
        assert all(metric(f"validation/{one}") for one in choice.schema.QUALITIES), name
