"""Which cores an arm gets: the same for both, the freest where it needs fewer than there are."""

from __future__ import annotations

import os
import time
from pathlib import Path

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
        before = idle_ticks(_STAT.read_text())
        time.sleep(_LOOK_SECONDS)
        after = idle_ticks(_STAT.read_text())
    except OSError:
        return tuple(sorted(usable))[-count:]
    # Of equals the last: the first cores are where interrupts go.
    order = sorted(usable, key=lambda core: (after.get(core, 0) - before.get(core, 0), core))
    return tuple(sorted(order[-count:]))


def idle_ticks(text: str) -> dict[int, int]:
    """Ticks each core has been idle, from /proc/stat (idle and waiting for input or output)."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu") and name[3:].isdigit():
            values = [int(one) for one in rest.split()]
            found[int(name[3:])] = values[3] + values[4]
    return found
