"""The conditions a measurement was made under: a canary before and after, and what else took the machine meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from thrifty.measure.statistics import Interval, median_interval

STOLEN_SHARE = 0.01
"""Of the cores' time, given by the hypervisor to other machines. A hundredth is as much as the differences we look for."""
OTHERS_SHARE = 0.05
"""Of the cores' time, taken by other processes: beyond it a run with a thread a core waits for one that is not there."""
DRIFT_SHARE = 0.05
"""Of the canary's time, between before and after, beyond their intervals."""
_CANARY_BLOCKS = 15
_PRODUCTS, _SIZE, _COPIED = 48, 64, 2**18
"""Products small enough that no library spreads them over threads, and between them copies of a mebibyte."""
_PROC, _SYS = Path("/proc"), Path("/sys")


def canary() -> Interval:
    """Seconds of a fixed small work, half of it computing and half moving memory: the machine's own pace, some 50 ms in all.

    It knows nothing of the model. Its ratio between two sessions says how much of a difference between them is the machine's.
    """
    left = np.random.default_rng(0).standard_normal((_SIZE, _SIZE)).astype(np.float32)
    source, target = np.zeros(_COPIED, dtype=np.float32), np.empty(_COPIED, dtype=np.float32)
    product = np.empty_like(left)
    seconds = []
    for _ in range(_CANARY_BLOCKS + 2):
        begin = time.perf_counter()
        for _ in range(_PRODUCTS):
            np.matmul(left, left, out=product)
            np.copyto(target, source)
        seconds.append(time.perf_counter() - begin)
    return median_interval(np.array(seconds[2:]))


@dataclass(frozen=True)
class CpuTimes:
    """Ticks of all cores since the machine began, from /proc/stat."""

    total: int
    idle: int
    stolen: int


def parse_cpu_times(text: str) -> CpuTimes | None:
    """The first line of /proc/stat; None where there is none. Guests' time is in user time already."""
    for line in text.splitlines():
        name, *values = line.split()
        if name == "cpu" and len(values) >= 8:
            ticks = [int(one) for one in values[:8]]
            return CpuTimes(sum(ticks), ticks[3] + ticks[4], ticks[7])
    return None


@dataclass(frozen=True)
class Conditions:
    """What was going on over a span; None where the system does not tell."""

    seconds: float
    canary_before: Interval
    canary_after: Interval
    stolen_share: float | None = None
    others_share: float | None = None
    """Of the cores' time, taken by processes that are neither ours nor our children's."""
    involuntary_switches: int | None = None
    swapped_in: int | None = None
    """Pages read back from swap, of the whole machine."""
    throttled: int | None = None
    """Times the processor slowed itself down for heat."""
    temperature: float | None = None
    """Of the hottest sensor at the end, in degrees Celsius."""

    @property
    def drift(self) -> float:
        """The canary's time after over before, less 1."""
        return self.canary_after.value / self.canary_before.value - 1

    def flags(self) -> list[str]:
        """What would spoil a measurement, by name."""
        apart = _apart(self.canary_before, self.canary_after)
        found = {
            "stolen_time": (self.stolen_share or 0) > STOLEN_SHARE,
            "busy_machine": (self.others_share or 0) > OTHERS_SHARE,
            "canary_drift": apart and abs(self.drift) > DRIFT_SHARE,
            "swapping": bool(self.swapped_in),
            "throttled": bool(self.throttled),
        }
        return [name for name, tripped in found.items() if tripped]

    def as_record(self) -> dict[str, Any]:
        """As the record has it."""
        return asdict(self)


class Watch:
    """Looks at the machine when entered and when left; `conditions` is known then."""

    conditions: Conditions

    def __enter__(self) -> Watch:
        self._canary = canary()
        self._begin, self._before = time.perf_counter(), _Reading.now()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        after, seconds = _Reading.now(), time.perf_counter() - self._begin
        self.conditions = _between(self._before, after, seconds, self._canary, canary())


@dataclass(frozen=True)
class _Reading:
    cpu: CpuTimes | None
    own_ticks: float
    switches: int | None
    swapped_in: int | None
    throttled: int | None
    temperature: float | None = field(default=None)

    @classmethod
    def now(cls) -> _Reading:
        """What the system tells at this moment."""
        return cls(
            parse_cpu_times(_read(_PROC / "stat")),
            _own_seconds() * _ticks_a_second(),
            _switches(),
            parse_counter(_read(_PROC / "vmstat"), "pswpin"),
            _throttle_count(),
            _temperature(),
        )


def _between(before: _Reading, after: _Reading, seconds: float, canary_before: Interval, canary_after: Interval) -> Conditions:
    stolen = others = None
    if before.cpu is not None and after.cpu is not None and after.cpu.total > before.cpu.total:
        total = after.cpu.total - before.cpu.total
        idle, taken = after.cpu.idle - before.cpu.idle, after.cpu.stolen - before.cpu.stolen
        stolen = taken / total
        # Ticks are coarse: over a short span our own may come out as more than all that was used.
        others = max(0.0, total - idle - taken - (after.own_ticks - before.own_ticks)) / total
    return Conditions(
        seconds,
        canary_before,
        canary_after,
        stolen,
        others,
        _difference(before.switches, after.switches),
        _difference(before.swapped_in, after.swapped_in),
        _difference(before.throttled, after.throttled),
        after.temperature,
    )


def _apart(first: Interval, second: Interval) -> bool:
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return False
    return first.high < second.low or second.high < first.low


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def parse_counter(text: str, name: str) -> int | None:
    """A counter of /proc/vmstat; None where it has none of that name."""
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " ")), None)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _own_seconds() -> float:
    """Processor time of this process and of those of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _ticks_a_second() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def _switches() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _throttle_count() -> int | None:
    """Of all cores; None where the system does not tell."""
    files = list((_SYS / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    counts = [int(text) for file in files if (text := _read(file).strip()).isdigit()]
    return sum(counts) if counts else None


def _temperature() -> float | None:
    values = [_read(file).strip() for file in (_SYS / "class/thermal").glob("thermal_zone*/temp")]
    degrees = [int(one) / 1000 for one in values if one.lstrip("-").isdigit()]
    return max(degrees) if degrees else None
