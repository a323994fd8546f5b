"""A clock that stands still while the kernel has given our core to another process."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_NANO = 1e-9


class OwnClock:
    """Seconds of the thread that made it, less those in which it was ready to run and had no core.

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

    def __call__(self) -> float:
        """Seconds from some point on."""
        assert self._thread == threading.get_ident(), "the kernel's count is that of one thread"
        return time.perf_counter() - self.waited()
