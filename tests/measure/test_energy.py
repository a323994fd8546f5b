"""Energy: counters written by hand, and a reason wherever there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thrifty.measure import energy
from thrifty.measure.energy import EnergyMeter, used_microjoules

CPU = torch.device("cpu")


def counter(folder: Path, name: str, value: int, most: int = 1_000_000_000) -> Path:
    domain = folder / name
    domain.mkdir()
    (domain / "energy_uj").write_text(f"{value}\n")
    (domain / "max_energy_range_uj").write_text(f"{most}\n")
    return domain / "energy_uj"


def test_a_counter_that_begins_anew() -> None:
    assert used_microjoules(5, 12, 100) == 7
    assert used_microjoules(90, 5, 100) == 15


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_RAPL", tmp_path)
    first, second = counter(tmp_path, "intel-rapl:0", 1_000_000), counter(tmp_path, "intel-rapl:1", 999_000_000)
    core = counter(tmp_path, "intel-rapl:0:0", 0)
    with EnergyMeter(CPU) as meter:
        first.write_text("3500000\n")
        second.write_text("1000000\n")  # over its range
        core.write_text("400000\n")
    assert meter.joules == pytest.approx(2.5 + 2.0)
    assert meter.source == "RAPL, whole processor"
    assert meter.reason is None


def test_no_counter_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_RAPL", tmp_path / "none")
    with EnergyMeter(CPU) as meter:
        pass
    assert meter.joules is None
    assert meter.reason is not None
    assert "no energy counter" in meter.reason


def test_a_counter_that_makes_no_sense_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_RAPL", tmp_path)
    counter(tmp_path, "intel-rapl:0", 1).write_text("nonsense\n")
    with EnergyMeter(CPU) as meter:
        pass
    assert meter.joules is None
    assert "cannot be read" in (meter.reason or "")


def test_other_devices_have_none() -> None:
    with EnergyMeter(torch.device("mps")) as meter:
        pass
    assert "mps" in (meter.reason or "")
