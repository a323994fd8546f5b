"""Who uses the cores now, from /proc/stat. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Ticks:
    """Of some cores together, since the machine started, in clock ticks."""

    busy: int
    stolen: int
    """Wanted by this virtual machine, and given to others by its host."""
    total: int


@dataclass(frozen=True)
class Load:
    """Of the cores we may use, over a moment."""

    others_cores: float
    """Cores kept busy by other processes than this one."""
    stolen_share: float
    """Of all their time, what the host took."""


def parse_ticks(text: str, cores: Collection[int]) -> Ticks | None:
    """Sums over the lines of `cores` in /proc/stat; None where it has none of them.

    The fields are user, nice, system, idle, iowait, irq, softirq, steal; guests' time is within user and nice. Source: proc(5).
    """
    busy = stolen = total = 0
    for line in text.splitlines():
        name, *fields = line.split() or [""]
        if not (name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores):
            continue
        user, nice, system, idle, iowait, irq, softirq, steal = ([int(one) for one in fields] + [0] * 8)[:8]
        busy += user + nice + system + irq + softirq
        stolen += steal
        total += user + nice + system + idle + iowait + irq + softirq + steal
    return Ticks(busy, stolen, total) if total else None


def load_between(before: Ticks, after: Ticks, own_s: float, elapsed_s: float, ticks_per_s: int) -> Load | None:
    """What others did between two readings.

    Args:
        own_s: processor time of this process meanwhile.
        elapsed_s: by the clock.
    """
    total = after.total - before.total
    if total <= 0 or elapsed_s <= 0:
        return None
    others = ((after.busy - before.busy) / ticks_per_s - own_s) / elapsed_s
    return Load(max(0.0, others), max(0, after.stolen - before.stolen) / total)


def look_at_load(seconds: float = 0.5) -> Load | None:
    """Watch for some seconds, asleep; None where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    try:
        text, began, own = _STAT.read_text(), time.perf_counter(), time.process_time()
        time.sleep(seconds)
        again, elapsed, own = _STAT.read_text(), time.perf_counter() - began, time.process_time() - own
        before, after = parse_ticks(text, cores), parse_ticks(again, cores)
    except (OSError, ValueError):
        return None
    if before is None or after is None:
        return None
    return load_between(before, after, own, elapsed, os.sysconf("SC_CLK_TCK"))
