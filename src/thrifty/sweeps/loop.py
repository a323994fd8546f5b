"""Runs what a plan proposes: a new experiment starts as soon as there is room for it, and none waits for another to end."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator
from types import FrameType

from thrifty.config.compose import plain
from thrifty.events import Event, Refused
from thrifty.execution.launch import Outcome
from thrifty.record import config_hash
from thrifty.stop import EXIT_CODES, HOPELESS, REASONS, STOPPED
from thrifty.sweeps.executor import Executor
from thrifty.sweeps.job import SweepJob
from thrifty.sweeps.planned import Plan, Planned
from thrifty.sweeps.runs import Runs
from thrifty.sweeps.view import View

_TRIES = 3
"""Of an experiment that somebody else's signal cuts off, as a cluster's does: each goes on where the one before was."""


class Loop:
    """A sweep while it goes on.

    Args:
        group: see `SweepJob`.
    """

    def __init__(self, plan: Plan, executor: Executor, runs: Runs, view: View, group: str) -> None:
        self.plan, self.executor, self.runs, self.view, self.group = plan, executor, runs, view, group
        self._running: dict[int, Planned] = {}
        self._same: dict[str, list[Planned]] = {}
        """By configuration: those that are running, and after the first what was proposed once more meanwhile."""
        self._again: list[Planned] = []
        self._tries: Counter[int] = Counter()
        self._signals: list[int] = []
        self.made = 0
        """Experiments that were begun, and not found finished."""

    def run(self) -> int:
        """Until the plan has no more, or a signal ends it; returns the exit code of a signal, or 0."""
        with self._signals_heard():
            told = False
            while True:
                self._start()
                if not self._running:
                    break
                for key, what in self.executor.wait():
                    if isinstance(what, Outcome):
                        self._ended(self._running[key], what)
                    elif isinstance(what, Event) and not isinstance(what, Refused):
                        self.view.event(self._running[key], what)
                if self._signals and not told:
                    told = True
                    self.view.told("stopping at the next step; what is begun goes on by sweep.resume (twice more kills)")
            for one in self._again:
                self.plan.left(one)
        return EXIT_CODES[REASONS[signal.Signals(self._signals[0])]] if self._signals else 0

    def _start(self) -> None:
        jobs = []
        room = self.executor.room() - sum(len(one) - 1 for one in self._same.values())
        while not self._signals and len(jobs) < room:
            one = self._again.pop(0) if self._again else self.plan.next()
            if one is None:
                break
            if one.config is None:
                assert one.refusal is not None
                self._told(one, one.refusal)
                continue
            found = self.runs.finished(one.config)
            if found is not None:
                self._told(one, found, before=True)
                continue
            wanted = config_hash(plain(one.config))
            if wanted in self._same:
                self._same[wanted].append(one)
                room -= 1
                continue
            self.made += 1
            self._same[wanted], self._running[one.key] = [one], one
            cut_off = self.runs.cut_off(one.config)
            jobs.append(
                SweepJob(
                    one.key,
                    one.config,
                    one.overrides,
                    str(self.runs.directory),
                    self.group,
                    None if cut_off is None else str(cut_off),
                    one.stopping,
                )
            )
            self.view.started(one)
        if jobs:
            self.executor.start(jobs)

    def _ended(self, one: Planned, outcome: Outcome) -> None:
        del self._running[one.key]
        assert one.config is not None
        same = self._same.pop(config_hash(plain(one.config)))
        self.runs.add(outcome)
        self._tries[one.key] += 1
        if outcome.exit_code in STOPPED and not self._signals and self._tries[one.key] < _TRIES:
            self.view.told(f"{one.label}: was cut off by a signal, and goes on")
            self._again += same
            return
        for each in same:
            self._told(each, outcome)

    def _told(self, one: Planned, outcome: Outcome, before: bool = False) -> None:
        if outcome.exit_code in STOPPED and self._signals:
            self.plan.left(one)
            self.view.ended(one, outcome, "cut off")
            return
        reason = self.plan.ended(one, outcome)
        if before:
            how = f"finished before: {outcome.path}"
        elif outcome.record is None:
            how = f"refused: {outcome.message or reason}"
        elif reason is not None:
            how = f"failed: {reason}"
        elif HOPELESS in outcome.record["flags"]:
            how = f"stopped: {outcome.record['reason'].removeprefix('stopped ')}"
        else:
            status, why = outcome.record["status"], outcome.message or outcome.record["reason"]
            how = status if why is None else f"{status}: {why}"
        self.view.ended(one, outcome, how)
        self.view.best(self.plan.so_far())

    @contextlib.contextmanager
    def _signals_heard(self) -> Iterator[None]:
        """Give what asks us to stop to all that run; a third one kills them."""

        def receive(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)
            if len(self._signals) == 1:
                self.executor.stop(number)
            elif len(self._signals) == 3:
                self.executor.kill()

        before = {one: signal.signal(one, receive) for one in REASONS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
