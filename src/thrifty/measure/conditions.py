"""The conditions a measurement was made under: a canary before and after, and what else took the machine meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from thrifty.measure.cpu_times import CpuTimes, involuntary_switches, own_seconds, parse_cpu_times, ticks_a_second
from thrifty.measure.nvml import NvmlDevice, NvmlUnavailable
from thrifty.measure.statistics import Interval, median_interval

if TYPE_CHECKING:  # a command line that compares needs no torch of its own
    import torch

STOLEN_SHARE = 0.01
"""Of the cores' time, given by the hypervisor to other machines. A hundredth is as much as the differences we look for."""
OTHERS_SHARE = 0.05
"""Of the cores' time, taken by other processes: beyond it a run with a thread a core waits for one that is not there."""
DRIFT_SHARE = 0.05
"""Of the canary's time, between before and after, beyond their intervals."""
LEAST_TICKS = 200
"""Of the cores together, below which no share is told: the clock ticks in hundredths of a second, and two must be 1%."""
_HOT = {"hardware", "thermal", "hardware_thermal", "power_brake"}
"""A GPU at its power limit works as it is meant to: that is recorded, and no flag."""
_CANARY_BLOCKS = 15
_ROUNDS, _PRODUCTS, _SIZE, _COPIED = 32, 6, 64, 2**18
"""Products small enough that no library spreads them over threads, and after each six a copy of a mebibyte. Larger copies would
stay with the process: glibc is told to keep what is freed, and the peak memory of training would show it."""
_PROC, _SYS = Path("/proc"), Path("/sys")


def canary() -> Interval:
    """Seconds of a fixed small work, about half of it computing and half moving memory: the machine's own pace, some 35 ms in all.

    It knows nothing of the model. Its ratio between two sessions says how much of a difference between them is the machine's.
    """
    left = np.random.default_rng(0).standard_normal((_SIZE, _SIZE)).astype(np.float32)
    source, target = np.zeros(_COPIED, dtype=np.float32), np.empty(_COPIED, dtype=np.float32)
    product = np.empty_like(left)
    seconds = []
    for _ in range(_CANARY_BLOCKS + 2):
        begin = time.perf_counter()
        for _ in range(_ROUNDS):
            for _ in range(_PRODUCTS):
                np.matmul(left, left, out=product)
            np.copyto(target, source)
        seconds.append(time.perf_counter() - begin)
    return median_interval(np.array(seconds[2:]))


def parse_waited(text: str) -> int | None:
    """Microseconds in which some task waited for a core, from /proc/pressure/cpu; None where it does not tell."""
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        total = next((one.removeprefix("total=") for one in fields if one.startswith("total=")), "")
        if kind == "some" and total.isdigit():
            return int(total)
    return None


@dataclass(frozen=True)
class Conditions:
    """What was going on over a span; None where the system does not tell."""

    seconds: float
    canary_before: Interval | None = None
    canary_after: Interval | None = None
    """None where no canary was asked for, and after work that did not end well."""
    stolen_share: float | None = None
    others_share: float | None = None
    """Of the time of the cores we may use, taken by processes that are neither ours nor our children's."""
    waiting_share: float | None = None
    """Of the span, in which some task of the machine, ours or another, waited for a core."""
    involuntary_switches: int | None = None
    swapped_in: int | None = None
    """Pages read back from swap, of the whole machine."""
    throttled: int | None = None
    """Times the processor slowed itself down for heat, as its cores count it: a whole package once for each of its cores."""
    gpu_slowdowns: list[str] | None = None
    """Why the GPU's clock was low at the beginning or the end."""
    frequency_mhz: float | None = None
    """Mean clock of the cores at the end."""
    temperature: float | None = None
    """Of the hottest sensor at the end, in degrees Celsius."""

    @property
    def drift(self) -> float | None:
        """The canary's time after over before, less 1."""
        if self.canary_before is None or self.canary_after is None:
            return None
        return self.canary_after.value / self.canary_before.value - 1

    def flags(self) -> list[str]:
        """What would spoil a measurement, by name."""
        found = {
            "stolen_time": (self.stolen_share or 0) > STOLEN_SHARE,
            "busy_machine": (self.others_share or 0) > OTHERS_SHARE,
            "canary_drift": abs(self.drift or 0) > DRIFT_SHARE and _apart(self.canary_before, self.canary_after),
            "swapping": (self.swapped_in or 0) > 0,
            "throttled": (self.throttled or 0) > 0 or not _HOT.isdisjoint(self.gpu_slowdowns or []),
        }
        return [name for name, tripped in found.items() if tripped]

    def as_record(self) -> dict[str, Any]:
        """As the record has it."""
        return asdict(self)


class Watch:
    """Looks at the machine when entered and when left.

    Args:
        device: whose slowdowns are asked for too, where it is a GPU of NVIDIA's.
        canaries: whether one runs before and, unless the work fails, after.
        alone: within which nothing of ours runs beside it.
    """

    conditions: Conditions | None = None
    """Known once left."""
    elsewhere_s: float = 0.0
    """Processor time that processes of ours spent meanwhile which are no children of this one; said before it is left."""

    def __init__(
        self,
        device: torch.device | None = None,
        canaries: bool = True,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.canaries, self._alone = canaries, alone
        self._gpu = _gpu(device)

    def __enter__(self) -> Watch:
        self._canary = self._paced() if self.canaries else None
        self._begin, self._before = time.perf_counter(), _Reading.now(self._gpu)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        after, seconds = _Reading.now(self._gpu), time.perf_counter() - self._begin
        after = replace(after, own_ticks=after.own_ticks + self.elsewhere_s * ticks_a_second())
        self.conditions = _between(self._before, after, seconds, self._canary)
        if self.canaries and kind is None:  # what failed or was stopped is not kept waiting
            self.conditions = replace(self.conditions, canary_after=self._paced())

    def _paced(self) -> Interval:
        with self._alone():
            return canary()


@dataclass(frozen=True)
class _Reading:
    cpu: CpuTimes | None = None
    own_ticks: float = 0.0
    waited_us: int | None = None
    switches: int | None = None
    swapped_in: int | None = None
    throttled: int | None = None
    gpu_slowdowns: set[str] | None = None
    frequency_mhz: float | None = None
    temperature: float | None = None

    @classmethod
    def now(cls, gpu: NvmlDevice | None) -> _Reading:
        """What the system tells at this moment."""
        return cls(
            parse_cpu_times(_read(_PROC / "stat"), _cores()),
            own_seconds() * ticks_a_second(),
            parse_waited(_read(_PROC / "pressure/cpu")),
            involuntary_switches(),
            parse_counter(_read(_PROC / "vmstat"), "pswpin"),
            _throttle_count(),
            None if gpu is None else gpu.slowdowns(),
            _frequency_mhz(),
            _temperature(),
        )


def _between(before: _Reading, after: _Reading, seconds: float, canary_before: Interval | None = None) -> Conditions:
    stolen = others = None
    if before.cpu is not None and after.cpu is not None and after.cpu.total - before.cpu.total >= LEAST_TICKS:
        passed = after.cpu.since(before.cpu)
        stolen = passed.stolen / passed.total
        # Ticks are coarse: our own may come out as more than all that was used.
        others = max(0.0, passed.busy - (after.own_ticks - before.own_ticks)) / passed.total
    waited = _difference(before.waited_us, after.waited_us)
    told = [one for one in (before.gpu_slowdowns, after.gpu_slowdowns) if one is not None]
    return Conditions(
        seconds,
        canary_before,
        stolen_share=stolen,
        others_share=others,
        waiting_share=None if waited is None or seconds <= 0 else waited * 1e-6 / seconds,
        involuntary_switches=_difference(before.switches, after.switches),
        swapped_in=_difference(before.swapped_in, after.swapped_in),
        throttled=_difference(before.throttled, after.throttled),
        gpu_slowdowns=sorted(set.union(*told)) if told else None,
        frequency_mhz=after.frequency_mhz,
        temperature=after.temperature,
    )


def _apart(first: Interval | None, second: Interval | None) -> bool:
    if first is None or second is None:
        return False
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


def _gpu(device: torch.device | None) -> NvmlDevice | None:
    if device is None or device.type != "cuda":
        return None
    try:
        return NvmlDevice.of(device)
    except NvmlUnavailable:
        return None


def _cores() -> Collection[int]:
    """Those this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _throttle_count() -> int | None:
    """Of all cores; None where the system does not tell."""
    counts = _numbers("devices/system/cpu", "cpu[0-9]*/thermal_throttle/*_throttle_count")
    return sum(counts) if counts else None


def _frequency_mhz() -> float | None:
    values = _numbers("devices/system/cpu", "cpu[0-9]*/cpufreq/scaling_cur_freq")  # kHz
    return sum(values) / len(values) / 1000 if values else None


def _temperature() -> float | None:
    values = _numbers("class/thermal", "thermal_zone*/temp")  # thousandths of a degree
    return max(values) / 1000 if values else None


def _numbers(folder: str, pattern: str) -> list[int]:
    """Of all files of a pattern below /sys that hold one."""
    texts = [_read(file).strip() for file in (_SYS / folder).glob(pattern)]
    return [int(text) for text in texts if text.removeprefix("-").isdigit()]
