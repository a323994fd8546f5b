"""A sweep as it goes on: a picture on a terminal, else a line for each experiment."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from thrifty.events import Event, Preparing, Progress, Started, Told
from thrifty.execution.launch import Outcome
from thrifty.report.numbers import duration
from thrifty.sweeps.planned import Planned
from thrifty.sweeps.view import View

_REFRESHES = 4
"""A second."""


def sweep_view(console: Console) -> View:
    """What suits the console."""
    return LiveView(console) if console.is_terminal else LineView(console)


class LineView:
    """A line for each experiment that has ended."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.total: int | None = None
        self.done = self.failed = 0
        self._began: dict[int, float] = {}

    def begin(self, total: int | None, seconds: float | None) -> None:
        """Take note of how many there are to be."""
        self.total = total

    def started(self, one: Planned) -> None:
        """Take note of when."""
        self._began[one.key] = time.monotonic()

    def event(self, one: Planned, event: Event) -> None:
        """What is to be read is told."""
        if isinstance(event, Told):
            self.told(event.sentence)

    def ended(self, one: Planned, outcome: Outcome, how: str) -> None:
        """The line."""
        self.done += 1
        self.failed += outcome.exit_code != 0
        began = self._began.pop(one.key, None)
        took = "" if began is None else f"  {duration(time.monotonic() - began)}"
        of = "" if self.total is None else f"/{self.total}"
        self._line(f"{self.done}{of}  {one.label}{took}  {how}", "" if outcome.exit_code == 0 else "red")

    def best(self, text: str) -> None:
        """Told at the end, with the table."""

    def told(self, sentence: str) -> None:
        """A line."""
        self._line(sentence)

    def close(self) -> None:
        """Nothing to do."""

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)


@dataclass
class _Row:
    """A running experiment."""

    label: str
    began: float
    doing: str = "starting"


class LiveView(LineView):
    """Below the lines of those that have ended: how far the sweep is, and what each running experiment does."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[int, _Row] = {}
        self._best = ""
        self._seconds: float | None = None
        self._start = time.monotonic()
        self._run = 0
        """Experiments that ended here, and were not found finished."""
        self._live = Live(console=console, get_renderable=self.picture, refresh_per_second=_REFRESHES, transient=True)

    def begin(self, total: int | None, seconds: float | None) -> None:
        """Begin the picture."""
        super().begin(total, seconds)
        self._seconds, self._start = seconds, time.monotonic()
        self._live.start()

    def started(self, one: Planned) -> None:
        """A row more."""
        super().started(one)
        self._rows[one.key] = _Row(one.label, time.monotonic())

    def event(self, one: Planned, event: Event) -> None:
        """What its row says."""
        super().event(one, event)
        row = self._rows.get(one.key)
        if row is None:
            return
        match event:
            case Preparing(what):
                row.doing = what
            case Started():
                row.doing = "beginning"
            case Progress():
                row.doing = f"step {event.step}/{event.steps}  loss {event.loss:.4f}  {duration(event.remaining_s)} left"
            case _:
                pass

    def ended(self, one: Planned, outcome: Outcome, how: str) -> None:
        """A row less, and its line."""
        self._run += self._rows.pop(one.key, None) is not None
        super().ended(one, outcome, how)

    def best(self, text: str) -> None:
        """Stands in the first line."""
        self._best = text

    def close(self) -> None:
        """Take the picture away."""
        self._live.stop()

    def picture(self) -> RenderableType:
        """As it is drawn."""
        counts = [f"{self.done}{'' if self.total is None else f' of {self.total}'} done", f"{len(self._rows)} running"]
        if self.total is not None:
            counts.append(f"{max(0, self.total - self.done - len(self._rows))} queued")
        counts += [f"{self.failed} failed"] if self.failed else []
        counts += [self._best] if self._best else []
        left = self._left()
        counts += [] if left is None else [f"about {duration(left)} left"]
        now = time.monotonic()
        rows = [
            Text(f"  {one.label}  {duration(now - one.began)}  {one.doing}", no_wrap=True, overflow="ellipsis")
            for one in list(self._rows.values())
        ]
        return Group(Text("   ".join(counts), style="bold", no_wrap=True, overflow="ellipsis"), *rows)

    def _left(self) -> float | None:
        """Seconds until the end, as those that have ended foretell; None where nothing is known."""
        spent = time.monotonic() - self._start
        by_time = None if self._seconds is None else max(0.0, self._seconds - spent)
        if self.total is None or self._run == 0:
            return by_time
        by_count = spent / self._run * max(0, self.total - self.done) - (0.0 if not self._rows else spent / self._run / 2)
        return by_count if by_time is None else min(by_count, by_time)
