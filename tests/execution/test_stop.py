"""A request to stop: remembered everywhere, raised only where work may be left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from conftest import QUIET, job_of
from thrifty.config.compose import compose, plain
from thrifty.events import Event, Preparing, Started
from thrifty.execution.worker import _run
from thrifty.methods.train import TrainMethod
from thrifty.record import new_record
from thrifty.stop import Stopped, StopRequest
from thrifty.store import RunDirectory


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job begins with it ignored
    request = StopRequest()
    request.install()
    yield request
    for one, handler in before.items():
        signal.signal(one, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_work_that_may_be_left(stop: StopRequest, number: signal.Signals, reason: str) -> None:
    with pytest.raises(Stopped, match=reason), stop.prompt():
        send(number)
    assert stop.reason == reason


def test_a_signal_is_remembered_elsewhere(stop: StopRequest) -> None:
    send(signal.SIGTERM)
    assert stop.reason == "terminated"
    with stop.deferred():
        send(signal.SIGINT)
    assert stop.reason == "terminated"  # the first counts


def test_work_that_looks_for_itself_is_not_interrupted(stop: StopRequest) -> None:
    with stop.prompt():
        with stop.deferred():
            send(signal.SIGINT)
        send(signal.SIGINT)
    assert stop.reason == "interrupted"


def test_a_signal_that_came_before_ends_the_work_at_its_beginning(stop: StopRequest) -> None:
    send(signal.SIGINT)
    begun = False
    with pytest.raises(Stopped), stop.prompt():
        begun = True
    assert not begun


def test_a_stop_while_the_data_is_read_leaves_nothing(stop: StopRequest, store: Path) -> None:
    def emit(event: Event) -> None:
        if isinstance(event, Preparing):
            send(signal.SIGTERM)

    with pytest.raises(Stopped, match="terminated"):
        _run(job_of(["task=tabular", *QUIET], str(store / "runs")), emit, lambda: None, stop)
    assert not store.exists()


@pytest.mark.filterwarnings("ignore")  # Lightning's
@pytest.mark.parametrize("phase", ["training", "saving the weights"])
def test_a_stop_at_any_moment_of_training_keeps_the_weights_and_ends_there(stop: StopRequest, store: Path, phase: str) -> None:
    told = []

    def emit(event: Event) -> None:
        if isinstance(event, Preparing):
            told.append(event.what)
            if event.what == phase:
                send(signal.SIGTERM)

    overrides = ["task=tabular", "budget.steps=3", "logger=none"]
    config = compose(overrides)
    method = TrainMethod(config, torch.device("cpu"), emit, stop)
    with stop.prompt():
        method.prepare(())
        directory = RunDirectory.claim(store / "runs", new_record(plain(config), overrides, "token"))
        status, reason = method.run(directory)
    steps = directory.record["metrics"]["train/steps"]["value"]
    assert (status, reason) == ("preempted", f"terminated at step {steps} of 3")
    assert (steps == 3) == (phase == "saving the weights")
    assert (directory.path / "model.safetensors").is_file()
    assert told[-1] == "saving the weights"  # no evaluation on the test split, no measurement


def test_nothing_is_measured_before_the_sinks_have_heard_of_the_run(
    stop: StopRequest, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[object] = []
    monkeypatch.setattr("thrifty.execution.worker._redirect", lambda *_: None)
    monkeypatch.setattr(TrainMethod, "run", lambda *_: happened.append("run") or ("ok", None))
    job = job_of(["task=tabular", *QUIET], str(store / "runs"))
    _run(job, lambda event: happened.append(type(event)), lambda: happened.append("heard"), stop)
    assert happened[happened.index(Started) :][:3] == [Started, "heard", "run"]
