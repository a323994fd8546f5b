"""Runs side by side: they train at the same time and measure in turn, alone. Imports no torch.

Two locks of the system, let go of with their process however it ends: a run holds `working`, shared, while it computes, and whoever
measures has it for itself. The other, `wish`, keeps a measurement from waiting for ever: while one waits or goes on, nobody begins.
Training looks between its steps whether somebody wants to measure, and stands still meanwhile.

Source: Courtois, Heymans and Parnas, "Concurrent control with readers and writers", 1971: the second problem.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where runs are not held side by side
    fcntl = None

PLACE = "THRIFTY_TURNS"
"""Environment variable with the directory of the locks; without it a run is alone."""


class Turns:
    """The two locks of a directory, as one process holds them.

    Args:
        place: None where nothing else runs; then nothing waits for anything.
    """

    def __init__(self, place: Path | None) -> None:
        self._wish = self._work = -1
        self._working = False
        if place is not None and fcntl is not None:
            place.mkdir(parents=True, exist_ok=True)
            self._wish, self._work = (os.open(place / name, os.O_RDWR | os.O_CREAT, 0o644) for name in ("wish", "working"))

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Compute within it, beside others; begins when nobody measures."""
        self._begin()
        try:
            yield
        finally:
            self._end()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Measure within it: the others stand still from their next step on. Inside `working` or outside."""
        if self._wish < 0:
            yield
            return
        assert fcntl is not None
        was_working = self._working
        self._end()
        fcntl.flock(self._wish, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._work, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._work, fcntl.LOCK_UN)
            fcntl.flock(self._wish, fcntl.LOCK_UN)
            if was_working:
                self._begin()

    def give_way(self) -> float:
        """Between two steps, inside `working`: stand still while another measures; returns the seconds it took."""
        if self._wish < 0 or not self._working:
            return 0.0
        assert fcntl is not None
        try:
            fcntl.flock(self._wish, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            begin = time.perf_counter()
            self._end()
            self._begin()
            return time.perf_counter() - begin
        fcntl.flock(self._wish, fcntl.LOCK_UN)
        return 0.0

    def _begin(self) -> None:
        if self._wish < 0:
            return
        assert fcntl is not None
        fcntl.flock(self._wish, fcntl.LOCK_SH)
        try:
            fcntl.flock(self._work, fcntl.LOCK_SH)
            self._working = True
        finally:
            fcntl.flock(self._wish, fcntl.LOCK_UN)

    def _end(self) -> None:
        if self._working:
            assert fcntl is not None
            fcntl.flock(self._work, fcntl.LOCK_UN)
            self._working = False


_of_this_process: dict[int, Turns] = {}


def turns() -> Turns:
    """This process's, by the environment that it was started with."""
    found = _of_this_process.get(os.getpid())  # a fork has locks of its own
    if found is None:
        given = os.environ.get(PLACE)
        found = Turns(Path(given) if given else None)
        _of_this_process[os.getpid()] = found
    return found
