"""Runs side by side train at once and measure alone: with real processes, as the locks are the system's."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from thrifty.execution.turns import Turns

pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no such locks on Windows: runs are not held side by side")
FORK = multiprocessing.get_context("fork") if os.name == "posix" else multiprocessing


def _trains(place: Path, notes: Path, end: Event, ready: Event) -> None:
    turns = Turns(place)
    with turns.working(), notes.open("a", buffering=1) as file:
        ready.set()
        while not end.is_set():
            begin = time.monotonic()
            time.sleep(0.002)
            file.write(f"{begin} {time.monotonic()}\n")
            turns.give_way()


def _measures(place: Path, notes: Path, working: bool) -> None:
    turns = Turns(place)

    def once() -> None:
        with turns.alone(), notes.open("a", buffering=1) as file:
            begin = time.monotonic()
            time.sleep(0.05)
            file.write(f"{begin} {time.monotonic()}\n")

    for _ in range(4):
        if working:
            with turns.working():
                once()
        else:
            once()


def spans(notes: Path) -> list[tuple[float, float]]:
    found = [line.split() for line in notes.read_text().splitlines()]
    return [(float(begin), float(end)) for begin, end in found]


def test_nobody_takes_a_step_while_another_measures_and_measurements_do_not_meet(tmp_path: Path) -> None:
    end, ready = FORK.Event(), [FORK.Event(), FORK.Event()]
    training = [FORK.Process(target=_trains, args=(tmp_path, tmp_path / f"steps{n}", end, ready[n])) for n in range(2)]
    for one in training:
        one.start()
    assert all(one.wait(10) for one in ready)
    measuring = [FORK.Process(target=_measures, args=(tmp_path, tmp_path / f"measured{n}", n == 0)) for n in range(2)]
    for one in measuring:
        one.start()
    for one in measuring:
        one.join(30)
        assert one.exitcode == 0
    end.set()
    for one in training:
        one.join(10)
        assert one.exitcode == 0
    measured = sorted(spans(tmp_path / "measured0") + spans(tmp_path / "measured1"))
    assert len(measured) == 8
    for (_, first_end), (second_begin, _) in itertools.pairwise(measured):
        assert first_end <= second_begin
    steps = [spans(tmp_path / "steps0"), spans(tmp_path / "steps1")]
    for begin, finish in measured:
        assert not [one for both in steps for one in both if one[0] < finish and one[1] > begin]
    first, second = steps
    assert any(one[0] < other[1] and one[1] > other[0] for one in first for other in second), "they train at the same time"


def test_the_time_that_another_measured_is_told(tmp_path: Path) -> None:
    mine, other = Turns(tmp_path), FORK.Process(target=_measures, args=(tmp_path, tmp_path / "measured", False))
    with mine.working():
        assert mine.give_way() == 0
        other.start()
        end = time.monotonic() + 10
        while (waited := mine.give_way()) < 0.04 and time.monotonic() < end:
            time.sleep(0.001)
        assert 0.04 <= waited < 10
        while other.is_alive():
            mine.give_way()


def test_who_is_killed_while_measuring_holds_nobody_up(tmp_path: Path) -> None:
    def holds() -> None:
        with Turns(tmp_path).alone():
            (tmp_path / "held").touch()
            time.sleep(60)

    process = FORK.Process(target=holds)
    process.start()
    end = time.monotonic() + 10
    while not (tmp_path / "held").exists() and time.monotonic() < end:
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    with Turns(tmp_path).working():
        pass
    process.join(10)


def test_after_measuring_inside_its_work_a_run_works_on(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    with turns.working():
        with turns.alone():
            pass
        other = Turns(tmp_path)
        with other.working():  # both work: the lock is shared again
            pass


def test_a_run_alone_waits_for_nothing(tmp_path: Path) -> None:
    turns = Turns(None)
    with turns.working(), turns.alone():
        assert turns.give_way() == 0
    assert not list(tmp_path.iterdir())
