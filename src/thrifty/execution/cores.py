"""Which cores an arm gets: the same for both, the freest where it needs fewer than there are."""

from __future__ import annotations

import os
import time
from pathlib import Path

from thrifty.measure.cpu_times import parse_cpu_times

_STAT = Path("/proc/stat")
_LOOK_SECONDS = 0.1


def freest_cores(count: int) -> tuple[int, ...] | None:
    """The `count` cores that were idle most over a tenth of a second; None where every core is needed, or none can be chosen.

    An arm that wanders between cores sees differences between them that the other arm does not: on two shared cores that made
    a pair's ratio scatter ten times as much.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    usable = os.sched_getaffinity(0)
    if count >= len(usable):
        return None
    try:
        before = _STAT.read_text()
        time.sleep(_LOOK_SECONDS)
        after = _STAT.read_text()
    except OSError:
        return tuple(sorted(usable))[-count:]
    idle = {core: _idle(after, core) - _idle(before, core) for core in usable}
    order = sorted(usable, key=lambda core: (idle[core], core))  # of equals the last: the first cores are where interrupts go
    return tuple(sorted(order[-count:]))


def _idle(text: str, core: int) -> int:
    times = parse_cpu_times(text, {core})
    return 0 if times is None else times.idle
