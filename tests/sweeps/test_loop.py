"""The loop of a sweep, with an executor that says itself when a job ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from thrifty.config.compose import compose, plain
from thrifty.events import Event, Told
from thrifty.execution.launch import Outcome
from thrifty.record import config_hash
from thrifty.sweeps.executor import Happened
from thrifty.sweeps.job import SweepJob
from thrifty.sweeps.loop import Loop
from thrifty.sweeps.planned import Planned
from thrifty.sweeps.runs import Runs

Ends = Callable[["Stand"], list[Happened]]


def outcome(job: SweepJob, status: str = "ok", code: int = 0) -> Outcome:
    path = Path(job.directory) / f"run-{job.key}"
    record = {"config_hash": config_hash(plain(job.config)), "status": status, "reason": None, "flags": []}
    return Outcome(code, path, record, None)


class Stand:
    """Two places; `ends` says which of the running jobs end at each wait."""

    cores = 1

    def __init__(self, ends: Ends) -> None:
        self.ends, self.running, self.begun = ends, dict[int, SweepJob](), list[SweepJob]()
        self.log: list[str] = []

    def room(self) -> int:
        return 2 - len(self.running)

    def start(self, jobs: Sequence[SweepJob]) -> None:
        for job in jobs:
            self.running[job.key] = job
            self.begun.append(job)
            self.log.append(f"+{job.key}")

    def wait(self) -> list[Happened]:
        happened = self.ends(self)
        for key, what in happened:
            if isinstance(what, Outcome):
                del self.running[key]
                self.log.append(f"-{key}")
        return happened

    def stop(self, number: int) -> None:
        self.log.append(f"stop {number}")

    def kill(self) -> None:
        self.log.append("kill")

    def close(self) -> None:
        pass


class Plan:
    def __init__(self, planned: Sequence[Planned]) -> None:
        self.queue, self.done, self.cut_off = list(planned), dict[int, Outcome](), list[int]()

    def next(self) -> Planned | None:
        return self.queue.pop(0) if self.queue else None

    def ended(self, one: Planned, outcome: Outcome) -> str | None:
        self.done[one.key] = outcome
        return None

    def left(self, one: Planned) -> None:
        self.cut_off.append(one.key)

    def so_far(self) -> str:
        return ""


class View:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, total: int | None, seconds: float | None) -> None: ...

    def started(self, one: Planned) -> None: ...

    def event(self, one: Planned, event: Event) -> None:
        self.lines.append(f"{one.key}: {event}")

    def ended(self, one: Planned, outcome: Outcome, how: str) -> None:
        self.lines.append(f"{one.key} {how}")

    def best(self, text: str) -> None: ...

    def told(self, sentence: str) -> None:
        self.lines.append(sentence)

    def close(self) -> None: ...


def planned(key: int, **given: Any) -> Planned:
    overrides = ["task=tabular", *(f"{name}={value}" for name, value in (given or {"seed": key}).items())]
    return Planned(key, f"number {key}", overrides, compose(overrides))


def looped(tmp_path: Path, experiments: Sequence[Planned], ends: Ends) -> tuple[int, Plan, Stand, View]:
    plan, stand, view = Plan(experiments), Stand(ends), View()
    code = Loop(plan, stand, Runs(tmp_path, None, 1), view, "group").run()
    return code, plan, stand, view


def last(stand: Stand) -> list[Happened]:
    """The one that was started last ends first: the other is slow."""
    job = stand.running[max(stand.running)]
    return [(job.key, outcome(job))]


def test_a_new_one_starts_as_soon_as_one_ends_and_waits_for_no_other(tmp_path: Path) -> None:
    code, plan, stand, _ = looped(tmp_path, [planned(key) for key in range(1, 6)], last)
    assert code == 0
    assert stand.log == ["+1", "+2", "-2", "+3", "-3", "+4", "-4", "+5", "-5", "-1"]
    assert sorted(plan.done) == [1, 2, 3, 4, 5]


def test_what_is_running_is_not_begun_once_more(tmp_path: Path) -> None:
    same = [planned(1, seed=7), planned(2, seed=7), planned(3, seed=8)]
    _, plan, stand, _ = looped(tmp_path, same, last)
    assert [job.key for job in stand.begun] == [1, 3]
    assert plan.done[1] is plan.done[2]


def test_what_an_earlier_one_of_the_sweep_has_finished_counts(tmp_path: Path) -> None:
    experiments = [planned(1, seed=7), planned(2, seed=8), planned(3, seed=8)]
    _, plan, stand, view = looped(tmp_path, experiments, last)
    assert 3 not in [job.key for job in stand.begun]
    assert plan.done[3].path == tmp_path / "run-2"
    assert f"3 finished before: {tmp_path / 'run-2'}" in view.lines


def test_values_that_do_not_go_together_cost_only_their_own_line(tmp_path: Path) -> None:
    wrong = Planned(2, "number 2", [], None, Outcome(2, None, None, "no such thing"))
    _, plan, stand, view = looped(tmp_path, [planned(1), wrong, planned(3)], last)
    assert [job.key for job in stand.begun] == [1, 3]
    assert plan.done[2].exit_code == 2
    assert "2 refused: no such thing" in view.lines


def test_one_that_somebody_else_cuts_off_goes_on_and_not_for_ever(tmp_path: Path) -> None:
    def preempted(stand: Stand) -> list[Happened]:
        job = stand.running[max(stand.running)]
        return [(job.key, outcome(job, "preempted", 143) if job.key == 1 else outcome(job))]

    code, plan, stand, view = looped(tmp_path, [planned(1), planned(2)], preempted)
    assert code == 0
    ones = [job for job in stand.begun if job.key == 1]
    assert [job.resumed for job in ones] == [None, *[str(tmp_path / "run-1")] * 2]
    assert plan.done[1].exit_code == 143
    assert view.lines.count("number 1: was cut off by a signal, and goes on") == 2


def test_events_are_passed_on(tmp_path: Path) -> None:
    def tells(stand: Stand) -> list[Happened]:
        (job,) = stand.running.values()
        return [(job.key, Told("hello")), (job.key, outcome(job))]

    _, _, _, view = looped(tmp_path, [planned(1)], tells)
    assert view.lines == ["1: Told(sentence='hello')", "1 ok"]


def test_one_that_ended_early_is_told_so_and_fails_nothing(tmp_path: Path) -> None:
    def hopeless(stand: Stand) -> list[Happened]:
        (job,) = stand.running.values()
        found = outcome(job, "killed")
        assert found.record is not None
        found.record.update(flags=["hopeless"], reason="stopped by sweep.stopper=median at step 40 of 200")
        return [(job.key, found)]

    code, plan, _, view = looped(tmp_path, [planned(1)], hopeless)
    assert code == plan.done[1].exit_code == 0
    assert view.lines == ["1 stopped: by sweep.stopper=median at step 40 of 200"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_sweep_and_leaves_what_is_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    def stopped(stand: Stand) -> list[Happened]:
        if stand.log[-1] == "+2":
            os.kill(os.getpid(), number)
            return []
        return [(job.key, outcome(job, "killed", code)) for job in list(stand.running.values())]

    before = signal.getsignal(number)
    ended, plan, stand, view = looped(tmp_path, [planned(key) for key in range(1, 5)], stopped)
    assert ended == code
    assert stand.log == ["+1", "+2", f"stop {int(number)}", "-1", "-2"]
    assert plan.cut_off == [1, 2]
    assert not plan.done
    assert sum("sweep.resume" in line for line in view.lines) == 1
    assert signal.getsignal(number) is before


def test_a_third_signal_kills(tmp_path: Path) -> None:
    def stubborn(stand: Stand) -> list[Happened]:
        if "kill" not in stand.log:
            os.kill(os.getpid(), signal.SIGTERM)
            return []
        return [(job.key, Outcome(143, None, None, "stopped")) for job in list(stand.running.values())]

    code, _, stand, _ = looped(tmp_path, [planned(1)], stubborn)
    assert code == 143
    assert stand.log == ["+1", f"stop {int(signal.SIGTERM)}", "kill", "-1"]
