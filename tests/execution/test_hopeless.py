"""A training that somebody finds hopeless: it alone ends, keeps its weights, and is a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import QUIET
from thrifty.config.compose import compose
from thrifty.events import Event, Finished, HistoryRow, Validated
from thrifty.execution.experiment import run_experiment
from thrifty.execution.launch import Outcome, launch
from thrifty.stop import HOPELESS, STOPPED, StopRequest, status_of
from thrifty.store import read_record, run_directories

OVERRIDES = ["task=tabular", "budget.steps=40", "train.validations=4", *QUIET]


class Says:
    """A stopper that says no at one step."""

    known_before: tuple[str, ...] = ("size/parameters", "infer/flops_per_sample")

    def __init__(self, no_at: int) -> None:
        self.no_at, self.asked = no_at, list[Validated]()

    def verdict(self, validated: Validated) -> str | None:
        self.asked.append(validated)
        return "stopped by a test" if validated.step == self.no_at else None


class SaysAlways:
    known_before: tuple[str, ...] = ()

    def verdict(self, validated: Validated) -> str | None:
        return "stopped by a test"


def launched(store: Path, stopper: Says, *overrides: str) -> tuple[Outcome, list[Event]]:
    typed, events = [*OVERRIDES, *overrides], list[Event]()
    return launch(compose(typed), typed, store / "runs", events.append, stopper=stopper), events


def test_it_ends_at_once_and_is_a_record_of_its_own_kind(store: Path) -> None:
    stopper = Says(20)
    outcome, events = launched(store, stopper)
    assert [one.step for one in stopper.asked] == [10, 20]
    assert outcome.exit_code == 0
    assert outcome.path is not None
    record = read_record(outcome.path)
    assert (record["status"], record["reason"]) == ("killed", "stopped by a test at step 20 of 40")
    assert HOPELESS in record["flags"]
    assert record["metrics"]["train/steps"]["value"] == 20
    assert "left untouched" in record["metrics"]["quality/accuracy"]["reason"]
    assert not any(name.startswith("infer/") for name in record["metrics"]), "nothing more is measured"
    assert (outcome.path / "model.safetensors").is_file()
    assert not (outcome.path / "checkpoints").exists(), "nobody goes on with it"
    assert isinstance(events[-1], Finished)
    assert not any(isinstance(one, Validated) for one in events), "a question is not for sinks"


def test_who_is_asked_hears_what_is_known(store: Path) -> None:
    stopper = Says(40)
    outcome, events = launched(store, stopper)
    assert outcome.record is not None
    assert outcome.record["status"] == "ok", "at the last step there is nothing to save any more"
    assert [(one.step, one.steps) for one in stopper.asked] == [(10, 40), (20, 40), (30, 40), (40, 40)]
    metrics = outcome.record["metrics"]
    rows = {one.step: one.values for one in events if isinstance(one, HistoryRow)}
    for one in stopper.asked:
        assert one.values["validation/accuracy"] == rows[one.step]["validation/accuracy"]
        assert one.values["size/parameters"] == metrics["size/parameters"]["value"]
    whole, _ = launched(store, Says(0), "measure=quick", "measure.seconds=0.05", "seed=1")
    assert whole.record is not None
    assert stopper.asked[0].values["infer/flops_per_sample"] == whole.record["metrics"]["infer/flops_per_sample"]["value"]


def test_all_ranks_end_with_it(store: Path) -> None:
    outcome, _ = launched(store, Says(20), "devices=1", "train.steps_per_call=4")
    assert outcome.record is not None
    assert outcome.record["metrics"]["train/steps"]["value"] == 20


class Silent:
    def handle(self, event: Event) -> None: ...

    def close(self) -> None: ...


def test_nothing_is_measured_of_a_hopeless_compression(store: Path) -> None:
    typed = [
        "method=prune",
        "method.finetune=1",
        "train.validations=4",
        f"store={store}",
        "task=tabular",
        "budget.steps=8",
        *QUIET,
    ]
    completed: list[object] = []
    outcome = run_experiment(
        compose(typed), typed, store / "runs", Silent(), complete=lambda *given: completed.append(given), stopper=SaysAlways()
    )
    assert outcome.record is not None
    assert (outcome.record["status"], outcome.exit_code) == ("killed", 0)
    assert HOPELESS in outcome.record["flags"]
    dense = [one for one in run_directories(store) if read_record(one)["config"]["method"]["name"] == "train"]
    assert [read_record(one)["status"] for one in dense] == ["ok"], "nobody is asked of the model that it begins with"
    assert not completed


def test_it_is_no_stop_of_all() -> None:
    assert 0 not in STOPPED
    assert status_of(HOPELESS) == "killed"
    stop = StopRequest()
    stop.give_up("stopped by sweep.stopper=median")
    assert stop.in_words(HOPELESS) == "stopped by sweep.stopper=median"
    assert stop.in_words("terminated") == "terminated"
    with pytest.raises(BaseException, match=HOPELESS), stop.prompt():
        raise AssertionError("nothing goes on")
    first = StopRequest()
    first.reason = "terminated"
    first.give_up("too late")
    assert first.reason == "terminated"
