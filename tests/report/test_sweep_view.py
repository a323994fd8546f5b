"""A sweep as it is shown while it goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from thrifty.events import Preparing, Progress, Told
from thrifty.execution.launch import Outcome
from thrifty.report import sweep_view as shown
from thrifty.report.sweep_view import LineView, LiveView, sweep_view
from thrifty.sweeps.planned import Planned

GOOD, BAD = Outcome(0, Path("run"), {}, None), Outcome(6, Path("run"), {}, None)


def one(key: int) -> Planned:
    return Planned(key, f"seed={key} tags=[a]", [], None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    return now


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=terminal)


def picture(view: LiveView) -> list[str]:
    on = Console(file=io.StringIO(), width=140)
    on.print(view.picture())
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue().splitlines()


def test_a_line_each_where_there_is_no_terminal(clock: list[float]) -> None:
    on = console(terminal=False)
    view = sweep_view(on)
    assert type(view) is LineView
    view.begin(3, None)
    view.started(one(1))
    clock[0] += 12
    view.event(one(1), Preparing("training"))
    view.event(one(1), Told("a sentence"))
    view.ended(one(1), GOOD, "ok")
    view.ended(one(2), BAD, "diverged: the loss became nan")
    assert isinstance(on.file, io.StringIO)
    assert on.file.getvalue().splitlines() == [
        "a sentence",
        "1/3  seed=1 tags=[a]  12 s  ok",
        "2/3  seed=2 tags=[a]  diverged: the loss became nan",
    ]


def test_the_picture_counts_and_says_what_each_is_at(clock: list[float]) -> None:
    view = LiveView(console(terminal=True))
    view.begin(10, None)
    try:
        for key in (1, 2):
            view.started(one(key))
        assert picture(view)[0].split("   ") == ["0 of 10 done", "2 running", "8 queued"]
        clock[0] += 20
        view.event(one(1), Progress(5, 50, 1.0, 0.25, 100.0, 9.0))
        view.event(one(2), Preparing("measuring prediction"))
        assert picture(view)[1:] == [
            "  seed=1 tags=[a]  20 s  step 5/50  loss 0.2500  9 s left",
            "  seed=2 tags=[a]  20 s  measuring prediction",
        ]
        view.ended(one(2), BAD, "failed: no")
        view.ended(one(3), GOOD, "finished before: there")
        view.best("best validation/loss 0.1, of trial 1")
        head = picture(view)[0].split("   ")
        assert head[:5] == ["2 of 10 done", "1 running", "7 queued", "1 failed", "best validation/loss 0.1, of trial 1"]
        # One has taken the 20 s; eight are left, of which one is half done as far as is known.
        assert head[5] == "about 2.5 min left"
    finally:
        view.close()


def test_time_left_is_that_of_the_budget_where_it_is_less(clock: list[float]) -> None:
    view = LiveView(console(terminal=True))
    view.begin(None, 60.0)
    try:
        view.started(one(1))
        clock[0] += 15
        assert picture(view)[0].split("   ") == ["0 done", "1 running", "about 45 s left"]
    finally:
        view.close()
