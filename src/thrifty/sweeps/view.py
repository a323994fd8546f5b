"""Who reads along while a sweep goes on."""

from __future__ import annotations

from typing import Protocol

from thrifty.events import Event
from thrifty.execution.launch import Outcome
from thrifty.sweeps.planned import Planned


class View(Protocol):
    """Shows a sweep; must not fail it."""

    def begin(self, total: int | None, seconds: float | None) -> None:
        """So many experiments are to be run, or as many as fit into the time; None where there is no such bound."""
        ...

    def started(self, one: Planned) -> None:
        """An experiment begins."""
        ...

    def event(self, one: Planned, event: Event) -> None:
        """A running experiment tells something."""
        ...

    def ended(self, one: Planned, outcome: Outcome, how: str) -> None:
        """An experiment has ended, or was found finished; `how` says so in a few words."""
        ...

    def best(self, text: str) -> None:
        """What a search has come to so far."""
        ...

    def told(self, sentence: str) -> None:
        """Something that is of the whole sweep."""
        ...

    def close(self) -> None:
        """The sweep is over, however it ended."""
        ...
