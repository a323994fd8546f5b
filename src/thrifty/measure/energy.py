"""Energy by hardware counters, or the reason why there is none. Nothing is estimated."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from thrifty.metrics import measured, missing

_RAPL = Path("/sys/class/powercap")
_MICRO, _MILLI = 1e-6, 1e-3


@dataclass(frozen=True)
class _Counter:
    """A counter of micro-joules that begins anew at its range."""

    file: Path
    range_uj: int
    begin_uj: int


class EnergyMeter:
    """Joules between `with` and its end.

    On CUDA those of the whole GPU, by NVML; else those of the whole processor, by RAPL: what other processes use is among them.
    """

    joules: float | None = None
    source: str | None = None
    reason: str | None = None
    """Why `joules` is missing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._counters: list[_Counter] = []
        self._nvml: tuple[Any, Any, int] | None = None

    def __enter__(self) -> EnergyMeter:
        if self.device.type == "cuda":
            self._begin_nvml()
        elif self.device.type == "cpu":
            self._begin_rapl()
        else:
            self.reason = f"no energy counter is known for device={self.device.type}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.reason is not None:
            return
        if self._nvml is not None:
            library, handle, begin = self._nvml
            self.joules, self.source = (library.nvmlDeviceGetTotalEnergyConsumption(handle) - begin) * _MILLI, "NVML, whole GPU"
            return
        try:
            used = [used_microjoules(one.begin_uj, _microjoules(one.file), one.range_uj) for one in self._counters]
        except (OSError, ValueError) as failed:
            self.reason = f"the energy counter could not be read again ({failed})"
            return
        self.joules, self.source = sum(used) * _MICRO, "RAPL, whole processor"

    def _begin_nvml(self) -> None:
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            self.reason = "NVML's Python package is not installed: pip install nvidia-ml-py"
            return
        try:
            library.nvmlInit()
            handle = library.nvmlDeviceGetHandleByIndex(self.device.index or 0)
            self._nvml = (library, handle, library.nvmlDeviceGetTotalEnergyConsumption(handle))
        except library.NVMLError as error:
            self.reason = f"NVML does not tell this GPU's energy ({error})"

    def _begin_rapl(self) -> None:
        domains = sorted(_RAPL.glob("intel-rapl:[0-9]*"))
        packages = [one for one in domains if one.name.count(":") == 1]  # others are parts of these
        if not packages:
            self.reason = "this system has no energy counter (RAPL) for its processor"
            return
        try:
            self._counters = [
                _Counter(one / "energy_uj", _microjoules(one / "max_energy_range_uj"), _microjoules(one / "energy_uj"))
                for one in packages
            ]
        except PermissionError:
            self.reason = f"the processor's energy counter may not be read: chmod a+r {_RAPL}/intel-rapl*/energy_uj as root"
        except (OSError, ValueError) as error:
            self.reason = f"the processor's energy counter cannot be read ({error})"


def energy_entry(meter: EnergyMeter, units: float = 1) -> dict[str, Any]:
    """The metric of an energy that was spent on so many units of work."""
    if meter.joules is None:
        return missing(meter.reason or "the measurement did not end")
    return measured(meter.joules / units)


def used_microjoules(before: int, after: int, counter_range: int) -> int:
    """Between two readings of a counter that begins anew at its range, at most once in between."""
    return after - before if after >= before else after - before + counter_range


def _microjoules(file: Path) -> int:
    return int(file.read_text())
