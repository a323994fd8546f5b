"""What the cores did since the machine began, from /proc/stat, and what processes of ours took of it. Linux only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_TASKS = Path("/proc/self/task")


@dataclass(frozen=True)
class CpuTimes:
    """Of some cores together, in clock ticks."""

    total: int
    idle: int
    stolen: int
    """Wanted by this virtual machine, and given to others by its host."""

    @property
    def busy(self) -> int:
        """Ticks in which something ran."""
        return self.total - self.idle - self.stolen

    def since(self, before: CpuTimes) -> CpuTimes:
        """Between an earlier reading and this one."""
        return CpuTimes(self.total - before.total, self.idle - before.idle, max(0, self.stolen - before.stolen))


def parse_cpu_times(text: str, cores: Collection[int]) -> CpuTimes | None:
    """Of the lines of `cores` in /proc/stat; None where there is none of them.

    The fields are user, nice, system, idle, iowait, irq, softirq, steal; guests' time is within user and nice. Source: proc(5).
    """
    total = idle = stolen = 0
    for line in text.splitlines():
        name, *values = line.split() or [""]
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores and len(values) >= 4:
            ticks = [int(one) for one in [*values, *"0000"][:8]]  # an old kernel tells fewer
            total, idle, stolen = total + sum(ticks), idle + ticks[3] + ticks[4], stolen + ticks[7]
    return CpuTimes(total, idle, stolen) if total else None


def own_seconds(tasks: Path = _TASKS) -> float:
    """Processor time of this process and of its children, those that have ended and those that live, with what theirs took.

    What a fork server's processes take is counted when they have ended: the server waits for them, and they are its children.
    """
    times = os.times()
    ours = times.user + times.system + times.children_user + times.children_system
    ticks = 0
    for children in tasks.glob("*/children"):
        for child in _text(children).split():
            fields = _text(Path("/proc", child, "stat")).rpartition(")")[2].split()
            ticks += sum(int(one) for one in fields[11:15])  # its user and system time, and that of those it waited for
    return ours + ticks / ticks_a_second()


def involuntary_switches() -> int | None:
    """Times the kernel took a core away from this process; None where it does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def ticks_a_second() -> int:
    """Of the kernel's accounting."""
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):  # not told here, or ended by now
        return path.read_text(errors="replace")
    return ""
