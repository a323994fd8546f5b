"""What a search makes of how its trials end."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from thrifty.config.space import space_of
from thrifty.config.sweep import Sampler, Stopper
from thrifty.config.sweep_files import sweep_of
from thrifty.execution.launch import Outcome
from thrifty.sweeps.objectives import objective_of
from thrifty.sweeps.planned import Planned
from thrifty.sweeps.search import _Search
from thrifty.sweeps.study import Study

SPACE = space_of(["task=tabular", "batch_size=8,16,32", "model=nano,tiny"])


def search(directory: Path, **changed: Any) -> _Search:
    changed = {"sampler": Sampler.brute_force, "n_trials": 6, "objectives": ["validation/loss"], **changed}
    settings = dataclasses.replace(sweep_of(()).settings, **changed)
    return _Search(settings, SPACE, Study(directory, "name", settings, SPACE, [objective_of("validation/loss")], []))


def ended(status: str, flags: tuple[str, ...] = (), loss: float | None = None) -> Outcome:
    metrics = {} if loss is None else {"validation/loss": {"value": loss}}
    record = {"status": status, "reason": "why", "flags": list(flags), "metrics": metrics}
    return Outcome(0 if status == "ok" else 5, Path("run"), record, None)


def planned(one: Planned | None) -> Planned:
    assert one is not None
    return one


@pytest.mark.parametrize("status", ["killed", "oom", "diverged", "error", "unsupported"])
def test_a_trial_that_failed_is_told_with_its_reason(tmp_path: Path, status: str) -> None:
    plan = search(tmp_path)
    assert plan.ended(planned(plan.next()), ended(status)) == f"{status}: why"
    ((trial),) = plan.study.trials()
    assert (trial.values, trial.reason, trial.stopped) == (None, f"{status}: why", False)
    assert bool(plan.study.out_of_memory()) is (status == "oom")
    assert plan.so_far() == ""


def test_a_hopeless_trial_is_no_failure_and_counts(tmp_path: Path) -> None:
    plan = search(tmp_path, n_trials=1)
    assert plan.ended(planned(plan.next()), ended("killed", ("hopeless",))) is None
    assert [(trial.stopped, trial.reason) for trial in plan.study.trials()] == [(True, "why")]
    assert plan.next() is None


def test_what_is_larger_than_what_ran_out_of_memory_is_not_tried(tmp_path: Path) -> None:
    plan = search(tmp_path)
    tried = []
    while (one := plan.next()) is not None:
        if one.config is None:
            assert one.refusal is not None
            assert plan.ended(one, one.refusal) == one.refusal.message
            assert "needs at least as much memory as trial" in str(one.refusal.message)
            continue
        size = int(one.config.batch_size or 0)
        tried.append((size, one.config.model.name))
        plan.ended(one, ended("oom") if size >= 16 else ended("ok", loss=0.5))
    assert len(plan.study.trials()) == 6
    for size, model in tried:
        larger = [(s, m) for s, m in tried[tried.index((size, model)) + 1 :] if s >= size and m >= model]  # nano < tiny
        assert size < 16 or not larger, tried


def test_a_trial_is_told_by_what_it_may_be_ended(tmp_path: Path) -> None:
    one = planned(search(tmp_path, stopper=Stopper.median).next())
    assert one.stopping is not None
    assert (one.stopping.trial, one.stopping.study, one.stopping.stopper) == (one.key, "name", "median")
    assert planned(search(tmp_path / "other").next()).stopping is None


@pytest.mark.parametrize(("killed", "learned"), [(True, False), (False, True)])
def test_a_process_that_was_killed_before_it_had_a_record_says_nothing_of_memory(
    tmp_path: Path, killed: bool, learned: bool
) -> None:
    plan = search(tmp_path)
    plan.ended(planned(plan.next()), Outcome(5, None, None, "why", killed))
    assert bool(plan.study.out_of_memory()) is learned
