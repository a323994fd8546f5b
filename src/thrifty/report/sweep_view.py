"""A sweep as it goes on: a picture on a terminal, else a line for each experiment."""

from __future__ import annotations

import time

from rich.console import Console
from rich.text import Text

from thrifty.events import Event, Told
from thrifty.execution.launch import Outcome
from thrifty.sweeps.planned import Planned


class LineView:
    """A line for each experiment that has ended."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._ended, self._total = 0, ""
        self._began: dict[int, float] = {}

    def begin(self, total: int | None, seconds: float | None) -> None:
        """Take note of how many there are to be."""
        self._total = "" if total is None else f"/{total}"

    def started(self, one: Planned) -> None:
        """Take note of when."""
        self._began[one.key] = time.monotonic()

    def event(self, one: Planned, event: Event) -> None:
        """What stays is told."""
        if isinstance(event, Told):
            self.told(event.sentence)

    def ended(self, one: Planned, outcome: Outcome, how: str) -> None:
        """The line."""
        self._ended += 1
        began = self._began.pop(one.key, None)
        took = "" if began is None else f"  {time.monotonic() - began:.1f} s"
        self._line(f"{self._ended}{self._total}  {one.label}{took}  {how}", "" if outcome.exit_code == 0 else "red")

    def best(self, text: str) -> None:
        """Told at the end, with the table."""

    def told(self, sentence: str) -> None:
        """A line."""
        self._line(sentence)

    def close(self) -> None:
        """Nothing to do."""

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=True)
