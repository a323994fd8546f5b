"""Energy by hardware counters, or the reason why there is none. Nothing is estimated."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from thrifty.measure.nvml import NvmlDevice, NvmlUnavailable
from thrifty.metrics import measured, missing

_RAPL = Path("/sys/class/powercap")
_MICRO, _MILLI = 1e-6, 1e-3
LEAST_SECONDS = {"cpu": 0.1, "cuda": 1.0}
"""Shorter spans are not told. RAPL's counters move about once a millisecond (Intel SDM, volume 3B, 15.10), NVML's every 20 to
100 ms: a span of a hundred or ten of these is known to a hundredth or a tenth."""
_LOOK_SECONDS = 60.0
"""RAPL's counters begin anew after 65 kJ or more: a minute apart, none that uses less than a kilowatt does so twice unseen."""


class EnergyMeter:
    """Joules between `with` and its end.

    On CUDA those of the whole GPU, by NVML; else those of the whole processor, by RAPL: what other processes use is among them.
    """

    joules: float | None = None
    source: str | None = None
    """Which counter it was, and whose energy it counts."""
    reason: str | None = None
    """Why `joules` is missing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._counter: _Rapl | _Nvml | None = None
        self._ended = threading.Event()
        self._follower: threading.Thread | None = None

    def __enter__(self) -> EnergyMeter:
        try:
            if self.device.type == "cuda":
                self._counter = _Nvml(self.device)
            elif self.device.type == "cpu":
                self._counter = _Rapl()
                self._follower = threading.Thread(target=self._follow, name="energy", daemon=True)
                self._follower.start()
            else:
                self.reason = f"no energy counter is known for device={self.device.type}"
        except (_Unreadable, NvmlUnavailable) as error:
            self.reason = str(error)
        self._begin = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seconds, least = time.perf_counter() - self._begin, LEAST_SECONDS.get(self.device.type, 0.0)
        self._ended.set()
        if self._follower is not None:
            self._follower.join()
        self._look()
        if self._counter is None or self.reason is not None:
            return
        if seconds < least:
            self.reason = f"the counter is too coarse for {seconds:.2g} s: it takes {least:g} s at least"
            return
        self.joules, self.source = self._counter.joules, self._counter.source

    def _follow(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        try:
            if self._counter is not None:
                self._counter.look()
        except (_Unreadable, NvmlUnavailable) as error:
            self.reason = str(error)


class _Unreadable(Exception):
    """Says why a counter of the processor tells nothing."""


class _Nvml:
    source = "NVML, whole GPU, other processes included"

    def __init__(self, device: torch.device) -> None:
        self._device = NvmlDevice.of(device)
        self._first = self._last = self._device.energy_mj()

    def look(self) -> None:
        self._last = self._device.energy_mj()

    @property
    def joules(self) -> float:
        return (self._last - self._first) * _MILLI


class _Rapl:
    source = "RAPL, whole processor, other processes included"

    def __init__(self) -> None:
        # Others are parts of a package (dram and core lie below it), or hold the packages and more (psys).
        domains = [one for one in sorted(_RAPL.glob("intel-rapl:[0-9]*")) if _name(one).startswith("package")]
        if not domains:
            raise _Unreadable("this system has no energy counter (RAPL) for its processor")
        self._files = [one / "energy_uj" for one in domains]
        self._ranges = [_microjoules(one / "max_energy_range_uj") for one in domains]
        self._last = [_microjoules(one) for one in self._files]
        self._used = 0

    def look(self) -> None:
        now = [_microjoules(one) for one in self._files]
        self._used += sum(used_microjoules(*one) for one in zip(self._last, now, self._ranges, strict=True))
        self._last = now

    @property
    def joules(self) -> float:
        return self._used * _MICRO


def energy_entry(meter: EnergyMeter, units: float = 1) -> dict[str, Any]:
    """The metric of an energy that was spent on so many units of work."""
    if meter.joules is None:
        return missing(meter.reason or "the measurement did not end")
    return measured(meter.joules / units)


def used_microjoules(before: int, after: int, counter_range: int) -> int:
    """Between two readings of a counter that begins anew at its range, at most once in between."""
    return after - before if after >= before else after - before + counter_range


def _name(domain: Path) -> str:
    try:
        return (domain / "name").read_text().strip()
    except OSError:
        return ""


def _microjoules(file: Path) -> int:
    try:
        return int(file.read_text())
    except PermissionError as error:
        why = f"the processor's energy counter may not be read: chmod a+r {_RAPL}/intel-rapl*/energy_uj as root"
        raise _Unreadable(why) from error
    except (OSError, ValueError) as error:
        raise _Unreadable(f"the processor's energy counter cannot be read ({error})") from error
