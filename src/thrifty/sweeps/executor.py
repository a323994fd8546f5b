"""What runs the experiments of a sweep: the same to the sweep whether they run in processes of this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from thrifty.events import Event
from thrifty.execution.launch import Outcome
from thrifty.sweeps.job import SweepJob

Happened = tuple[int, Event | Outcome]
"""(key of the job, what it told or how it ended): a job's outcome is the last that is heard of it."""


class Executor(Protocol):
    """Runs jobs, several at a time, and tells of them as things happen."""

    @property
    def cores(self) -> int:
        """Of the machine that runs them, how many a job has."""
        ...

    def room(self) -> int:
        """Jobs that may be started now."""
        ...

    def start(self, jobs: Sequence[SweepJob]) -> None:
        """Start them; at most as many as there is room for. Together, as a cluster takes an array better than its parts."""
        ...

    def wait(self) -> list[Happened]:
        """What has happened; blocks until something has."""
        ...

    def stop(self, number: int) -> None:
        """Give a signal to all that run, which then end at a safe place, as do the rest of those started. May be called by a signal's handler."""
        ...

    def kill(self) -> None:
        """End all that run, at once. May be called by a signal's handler."""
        ...

    def close(self) -> None:
        """Leave nothing behind that runs."""
        ...
