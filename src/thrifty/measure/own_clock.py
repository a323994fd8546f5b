"""A clock that stands still while the kernel has given our core to another process."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_NANO = 1e-9
_LONGEST_READING = 2e-4
"""Seconds: one that took longer had to wait for a core itself."""


@dataclass(frozen=True)
class Reading:
    """A moment, in seconds."""

    begun: float
    done: float
    """Of reading, by the ordinary clock."""
    waited: float
    """Without a core until then."""

    @property
    def cost(self) -> float:
        """What the reading itself took."""
        return min(self.done - self.begun, _LONGEST_READING)


def seconds_between(first: Reading, last: Reading) -> float:
    """Seconds between two readings, less those without a core.

    Both readings lie within what the waits are taken off from: one that came as we read would else be taken off, and not be in it.
    What they cost is taken off then, some microseconds where the kernel's code is in the caches, and ten times as many where not:
    of blocks of a millisecond that made 10 % more work 9.5 %.
    """
    return last.done - first.begun - (last.waited - first.waited) - first.cost - last.cost


class OwnClock:
    """Time of the thread that made it, of which those parts are known in which it was ready to run and had no core.

    A busy neighbour on our core does not make a model slower, it makes us wait: a few milliseconds at a time, as long as a small
    model's prediction. The kernel counts that wait by thread. Sleeping, and waiting for a device or for other threads, is time
    as ever. Where the kernel tells nothing (not Linux) it is the ordinary clock.
    """

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open(_SCHEDSTAT, os.O_RDONLY)
            self.waited()
        except (OSError, ValueError, IndexError):
            self._file = None
        self._thread = threading.get_ident()

    @property
    def tells_waits(self) -> bool:
        """Whether the kernel tells how long we waited for a core."""
        return self._file is not None

    def waited(self) -> float:
        """Seconds without a core so far; 0 where that is not told."""
        if self._file is None:
            return 0.0
        return int(os.pread(self._file, 64, 0).split()[1]) * _NANO

    def read(self) -> Reading:
        """This moment."""
        assert self._thread == threading.get_ident(), "the kernel's count is that of one thread"
        begun = time.perf_counter()
        waited = self.waited()
        return Reading(begun, time.perf_counter(), waited)
