"""What consumes events."""

from __future__ import annotations

from typing import Protocol

from thrifty.events import Event


class Sink(Protocol):
    """Receives every event of a run, in order; must not fail the run."""

    def handle(self, event: Event) -> None:
        """Take note of an event."""
        ...

    def close(self) -> None:
        """The run is over, however it ended."""
        ...
