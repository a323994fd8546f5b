"""A busy neighbour: a process that keeps one core at work, to try the instrument beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from types import TracebackType

_ENDLESS = """
import os
parent = os.getppid()
while os.getppid() == parent:  # it ends with us, however we end
    for _ in range(1_000_000):
        pass
"""
_SETTLING_SECONDS = 0.3


class BusyNeighbour:
    """Within the `with` block another process computes without a pause, on whichever core the system gives it."""

    def __enter__(self) -> BusyNeighbour:
        self._process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _ENDLESS], stdin=subprocess.DEVNULL)
        time.sleep(_SETTLING_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
