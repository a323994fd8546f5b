"""Energy: counters written by hand, and a reason wherever there is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from thrifty.measure import energy
from thrifty.measure.energy import EnergyMeter, energy_entry, used_microjoules
from thrifty.measure.nvml import NvmlDevice

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def any_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "LEAST_SECONDS", {})


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(energy, "_RAPL", tmp_path)
    return tmp_path


def counter(folder: Path, number: str, name: str, value: int, most: int = 1_000_000_000) -> Path:
    domain = folder / f"intel-rapl:{number}"
    domain.mkdir()
    (domain / "name").write_text(f"{name}\n")
    (domain / "energy_uj").write_text(f"{value}\n")
    (domain / "max_energy_range_uj").write_text(f"{most}\n")
    return domain / "energy_uj"


def test_a_counter_that_begins_anew() -> None:
    assert used_microjoules(5, 12, 100) == 7
    assert used_microjoules(90, 5, 100) == 15


def test_packages_are_added_and_what_they_hold_or_are_held_by_is_not(counters: Path) -> None:
    first = counter(counters, "0", "package-0", 1_000_000)
    second = counter(counters, "1", "package-1", 999_000_000)
    core, whole = counter(counters, "0:0", "core", 0), counter(counters, "2", "psys", 0)
    with EnergyMeter(CPU) as meter:
        first.write_text("3500000\n")
        second.write_text("1000000\n")  # over its range
        core.write_text("400000\n")
        whole.write_text("9000000\n")
    assert meter.joules == pytest.approx(2.5 + 2.0)
    assert meter.source == "RAPL, whole processor, other processes included"
    assert meter.reason is None
    assert energy_entry(meter, 9)["value"] == pytest.approx(0.5)


def test_a_long_span_is_looked_at_in_between(counters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over its range twice: 70 to 30 and again to 10 of 100 are 60 and 80, of which two readings alone would show 40."""
    file = counter(counters, "0", "package-0", 70, most=100)
    seen: list[str] = []

    def wait(seconds: float) -> bool:
        file.write_text("30\n")
        seen.append("looked")
        return len(seen) > 1

    meter = EnergyMeter(CPU)
    monkeypatch.setattr(meter._ended, "wait", wait)
    with meter:
        assert meter._follower is not None
        meter._follower.join()
        file.write_text("10\n")
    assert meter.joules == pytest.approx(140e-6)


def test_a_short_span_is_a_reason(counters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter(counters, "0", "package-0", 1)
    monkeypatch.setattr(energy, "LEAST_SECONDS", {"cpu": 1000.0})
    with EnergyMeter(CPU) as meter:
        pass
    assert meter.joules is None
    assert "takes 1000 s at least" in (meter.reason or "")


def test_no_counter_is_a_reason(counters: Path) -> None:
    counter(counters, "0", "psys", 0)
    with EnergyMeter(CPU) as meter:
        pass
    assert meter.joules is None
    assert energy_entry(meter) == {"value": None, "reason": "this system has no energy counter (RAPL) for its processor"}


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_counter_that_makes_no_sense_is_a_reason(counters: Path, when: str) -> None:
    file = counter(counters, "0", "package-0", 1)
    if when == "before":
        file.write_text("nonsense\n")
    with EnergyMeter(CPU) as meter:
        file.write_text("nonsense\n")
    assert meter.joules is None
    assert "cannot be read" in (meter.reason or "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_a_counter_that_may_not_be_read_says_what_to_do(counters: Path) -> None:
    counter(counters, "0", "package-0", 1).chmod(0)
    with EnergyMeter(CPU) as meter:
        pass
    assert "chmod a+r" in (meter.reason or "")


def test_other_devices_have_none() -> None:
    with EnergyMeter(torch.device("mps")) as meter:
        pass
    assert "mps" in (meter.reason or "")


# -- NVML, by a driver of our own ---------------------------------------------------------------------------------------


class DriverError(Exception):
    pass


class Driver:
    """The second GPU of the machine is the only one we see: torch's number 0."""

    NVMLError = DriverError

    def __init__(self, *energies: int | Exception, reasons: int = 0) -> None:
        self.energies, self.reasons = list(energies), reasons

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, identity: str) -> str:
        assert identity == "GPU-second"
        return identity

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        told = self.energies.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return self.reasons


def install(monkeypatch: pytest.MonkeyPatch, driver: Driver | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="second"))


def test_a_gpu_s_counter_is_in_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Driver(5_000, 12_500))
    with EnergyMeter(GPU) as meter:
        pass
    assert meter.joules == pytest.approx(7.5)
    assert meter.source == "NVML, whole GPU, other processes included"


def test_a_driver_that_fails_at_the_beginning_or_the_end_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    for told in ([DriverError("not supported")], [5_000, DriverError("lost")]):
        install(monkeypatch, Driver(*told))
        with EnergyMeter(GPU) as meter:
            pass
        assert meter.joules is None
        assert f"NVML does not tell this GPU's energy ({told[-1]})" == meter.reason


def test_a_missing_driver_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    with EnergyMeter(GPU) as meter:
        pass
    assert "pip install nvidia-ml-py" in (meter.reason or "")


def test_why_a_gpu_s_clock_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Driver(reasons=0x01 | 0x04 | 0x20))  # idle, at its power limit, hot
    assert NvmlDevice.of(GPU).slowdowns() == {"power_cap", "thermal"}
