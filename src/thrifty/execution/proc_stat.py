"""Who uses the cores now, from /proc/stat and those of the processes. Linux only."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from thrifty.measure.cpu_times import CpuTimes, parse_cpu_times, ticks_a_second

_STAT = Path("/proc/stat")
_PROC = Path("/proc")
_WORTH_NAMING = 0.1
"""Cores a process must keep busy."""
_NAMED = 3
"""Processes, at most."""


@dataclass(frozen=True)
class Load:
    """Of the cores we may use, over a moment."""

    others_cores: float
    """Cores kept busy by other processes than this one."""
    stolen_share: float
    """Of all their time, what the host took."""
    busiest: tuple[str, ...] = ()
    """The processes that do most, as far as we can see them: `python3 (71) 0.96`, in cores."""


def load_between(before: CpuTimes, after: CpuTimes, own_s: float, elapsed_s: float, ticks_per_s: int) -> Load | None:
    """What others did between two readings.

    Args:
        own_s: processor time of this process meanwhile.
        elapsed_s: by the clock.
    """
    passed = after.since(before)
    if passed.total <= 0 or elapsed_s <= 0:
        return None
    return Load(max(0.0, passed.busy / ticks_per_s - own_s) / elapsed_s, passed.stolen / passed.total)


def parse_process(text: str) -> tuple[str, int]:
    """Name and ticks used of a process, from its /proc/PID/stat. The name stands in brackets, and may hold some itself.

    Raises:
        ValueError, IndexError: it has another form.
    """
    front, _, rest = text.rpartition(")")
    name = "".join(one for one in front.partition("(")[2] if one.isprintable())  # any process may call itself anything
    fields = rest.split()
    return name, int(fields[11]) + int(fields[12])


def busiest(before: dict[int, tuple[str, int]], after: dict[int, tuple[str, int]], ticks: float) -> tuple[str, ...]:
    """Processes that used most between two readings, which were `ticks` apart."""
    cores = {pid: (used - before[pid][1]) / ticks for pid, (_, used) in after.items() if pid in before and pid != os.getpid()}
    order = sorted((pid for pid, one in cores.items() if one >= _WORTH_NAMING), key=lambda pid: -cores[pid])
    return tuple(f"{after[pid][0]} ({pid}) {cores[pid]:.2f}" for pid in order[:_NAMED])


def _processes() -> dict[int, tuple[str, int]]:
    """Name and ticks used of every process we can see."""
    found = {}
    for directory in _PROC.iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or is none of ours to read
                found[int(directory.name)] = parse_process((directory / "stat").read_text(errors="replace"))
    return found


def look_at_load(seconds: float = 0.5) -> Load | None:
    """Watch for some seconds, asleep; None where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = os.sched_getaffinity(0)
    try:
        processes = _processes()
        text, began, own = _STAT.read_text(), time.perf_counter(), time.process_time()
        time.sleep(seconds)
        again, elapsed, own = _STAT.read_text(), time.perf_counter() - began, time.process_time() - own
        names = busiest(processes, _processes(), max(elapsed, 1e-3) * ticks_a_second())
        before, after = parse_cpu_times(text, cores), parse_cpu_times(again, cores)
    except (OSError, ValueError):
        return None
    if before is None or after is None:
        return None
    found = load_between(before, after, own, elapsed, ticks_a_second())
    return None if found is None else replace(found, busiest=names)
