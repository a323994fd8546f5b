"""Shows a run on a terminal as it goes; line by line where there is none."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.status import Status

from thrifty.events import Event, Finished, HistoryRow, Preparing, Refused, Started
from thrifty.events import Progress as ProgressEvent

_LINE_SECONDS = 10.0


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
            case Started(path=path, about=about):
                self.console.print(f"[bold]{path}[/]", highlight=False, soft_wrap=True)
                for sentence in about:
                    self.console.print(f"  {sentence}", highlight=False, markup=False)
            case HistoryRow(values=values):
                shown = [
                    f"{name.split('/')[1]} {value:.4g}" for name, value in values.items() if name.startswith("validation/")
                ]
                self._validation = f"validation {', '.join(shown)}" if shown else self._validation
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
            self._status = self.console.status(what)
            self._status.start()

    def _advance(self, event: ProgressEvent) -> None:
        text = (
            f"loss {event.loss:.4f}  {event.samples_per_s:,.0f} samples/s  {event.remaining_s:.0f} s left  {self._validation}"
        )
        if self.console.is_terminal:
            if self._bar is None:
                self.close()
                self._bar = Progress(
                    TextColumn("step {task.completed}/{task.total}"),
                    BarColumn(),
                    TextColumn("{task.description}"),
                    console=self.console,
                )
                self._task = self._bar.add_task(text, total=event.steps)
                self._bar.start()
            self._bar.update(self._task, completed=event.step, description=text)
        elif time.monotonic() - self._line_at >= _LINE_SECONDS:
            self._line_at = time.monotonic()
            self.console.print(f"  step {event.step}/{event.steps}  {text}", highlight=False)
