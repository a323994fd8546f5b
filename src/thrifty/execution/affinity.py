"""Which cores a thread, or all threads of a process, may run on. Where the system does not let us choose, nothing is done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

_TASKS = Path("/proc/self/task")


def cores() -> list[int] | None:
    """Those that the calling thread may run on; None where that is not told."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def hold_thread(to: Collection[int] | None) -> None:
    """Let the calling thread run on these only; None changes nothing."""
    if to is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, to)


def hold_process(to: Collection[int] | None) -> None:
    """Let every thread there is run on these only, those of libraries too; None changes nothing."""
    if to is None or not hasattr(os, "sched_setaffinity"):
        return
    os.sched_setaffinity(0, to)
    for task in _TASKS.glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(task.name), to)
