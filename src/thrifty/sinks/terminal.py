"""Shows a run on a terminal as it goes; line by line where there is none."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.status import Status
from rich.table import Column
from rich.text import Text

from thrifty.events import Event, Finished, HistoryRow, Preparing, Refused, Started, Told
from thrifty.events import Progress as ProgressEvent

_LINE_SECONDS = 10.0
_FACTS_WIDTH, _NARROWEST_BAR, _WIDEST_BAR = 90, 8, 40
"""Columns that what stands beside the bar wants; a terminal that leaves the bar too few gets none."""


class TerminalSink:
    """A spinner while there is nothing to count, a bar while training; every ten seconds a line where output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status: Status | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._validation = ""
        self._line_at = time.monotonic()

    def handle(self, event: Event) -> None:
        """Show it."""
        match event:
            case Preparing(what):
                self._say(what)
            case Told(sentence):
                self._print(sentence)
            case Started(path=path, about=about):
                self._validation = ""
                self._print(path, "bold")
                for sentence in about:
                    self._print(f"  {sentence}")
            case HistoryRow(values=values):
                self._validation = _validation_text(values) or self._validation
            case ProgressEvent():
                self._advance(event)
            case Finished() | Refused():
                self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, what: str) -> None:
        self.close()
        if self.console.is_terminal:
            self._status = self.console.status(Text(what))
            self._status.start()

    def _advance(self, event: ProgressEvent) -> None:
        facts = [f"loss {event.loss:.4f}", f"{event.samples_per_s:,.0f} samples/s", f"{event.remaining_s:.0f} s left"]
        text = "  ".join([f"step {event.step}/{event.steps}", *facts, *([self._validation] if self._validation else [])])
        if self.console.is_terminal:
            bar = self._bar or self._start_bar(event.steps)
            bar.update(self._task, completed=event.step, description=text)
        elif time.monotonic() - self._line_at >= _LINE_SECONDS:
            self._line_at = time.monotonic()
            self._print(f"  {text}")

    def _start_bar(self, steps: int) -> Progress:
        self.close()
        facts = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
        room = min(_WIDEST_BAR, self.console.width - _FACTS_WIDTH)
        self._bar = Progress(*([BarColumn(room)] if room >= _NARROWEST_BAR else []), facts, console=self.console)
        self._task = self._bar.add_task("", total=steps)
        self._bar.start()
        return self._bar

    def _print(self, line: str, style: str = "") -> None:
        """A line as it is: not cut, not wrapped, nothing in it taken for markup."""
        self.console.print(Text(line, style=style), soft_wrap=True)


def _validation_text(values: dict[str, float]) -> str:
    """What a history row says of validation; its loss only where there is nothing easier to read."""
    found = {name.removeprefix("validation/"): value for name, value in values.items() if name.startswith("validation/")}
    telling = {name: value for name, value in found.items() if name != "loss"} or found
    return f"val {', '.join(f'{name} {value:.4g}' for name, value in telling.items())}" if telling else ""
