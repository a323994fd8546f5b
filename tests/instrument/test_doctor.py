"""`thrifty doctor`: from the command line, and what becomes of a ceiling that fails."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import Cli
from thrifty.config.registry import CHOICES
from thrifty.engines.compiler import why_no_compiler
from thrifty.instrument import doctor
from thrifty.instrument.doctor import TOO_LATE, array_mib, attempt, examine, first_line, note_of_dtype
from thrifty.instrument.floor import KeptFloor, kept_floor
from thrifty.measure import ceiling
from thrifty.measure.statistics import Interval

RANGES = {"GFLOP/s": (0.01, 1e6), "GOP/s": (0.01, 1e6), "GB/s": (0.05, 1e5), "MiB/s": (0.1, 1e6)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ceilings of things so small that they take no time."""
    monkeypatch.setattr(ceiling, "_OTHER_SIZES", (32,))
    monkeypatch.setattr(doctor, "_ARRAY_MIB", (1, 1))
    monkeypatch.setattr(doctor, "LONGEST_S", 600.0)


def test_the_command_tells_all_of_it_as_json(cli: Cli) -> None:
    found = json.loads(cli("doctor", "--quick", "--json").stdout)
    assert set(found) == {
        "machine", "devices", "devices_reason", "engines", "extras", "threads", "ceilings", "noise_floor", "reading",
        "troubles", "quick", "seconds",
    }  # fmt: skip
    assert found["machine"]["cores_usable"] == found["threads"] >= 1
    assert found["quick"] is True
    assert found["noise_floor"] is None
    assert set(found["engines"]) == set(CHOICES["engine"])
    assert (found["engines"]["eager"], found["engines"]["compile"]) == (None, why_no_compiler())
    assert "sparse tensor cores" in found["engines"]["semi_structured"]
    cpu = next(one for one in found["devices"] if one["name"] == "cpu")
    assert cpu["reason"] is None
    assert cpu["precisions"]["fp32"] is None
    names = [one["name"] for one in found["ceilings"] if one["device"] in ("cpu", "disk")]
    assert names == [*(f"matrix product {one}" for one in ("fp32", "bf16", "fp16", "int8")),
                     "memory copy", "memory triad", "disk write", "disk read"]  # fmt: skip
    for one in found["ceilings"]:
        value, (low, high) = one["entry"]["value"], RANGES[one["unit"]]
        assert one["entry"]["reason"] if value is None else low < value < high
    assert all(one["what"] and one["remedy"] for one in found["troubles"])
    assert list(cli.cwd.iterdir()) == []


def test_a_wrong_flag_is_exit_2(cli: Cli) -> None:
    assert "--quik" in cli.refused("doctor", "--quik", code=2)


@pytest.mark.usefixtures("small")
def test_a_ceiling_that_fails_is_a_row_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*arguments: object) -> torch.Tensor:
        raise RuntimeError("\nno 8-bit products on this processor\nmore lines")

    monkeypatch.setattr(torch, "_int_mm", broken)
    rows = {one.name: one for one in examine(tmp_path, quick=True).ceilings if one.device in ("cpu", "disk")}
    assert rows["matrix product int8"].entry == {"value": None, "reason": "no 8-bit products on this processor"}
    assert rows["matrix product fp32"].entry["value"] > 0
    assert rows["disk write"].entry["value"] > 0


@pytest.mark.usefixtures("small")
def test_when_the_time_is_up_no_ceiling_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "LONGEST_S", -1.0)
    found = examine(tmp_path, quick=True)
    assert {json.dumps(one.entry) for one in found.ceilings} == {json.dumps({"value": None, "reason": TOO_LATE})}


@pytest.mark.usefixtures("small")
def test_the_noise_floor_is_told_and_kept_for_comparisons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = Interval(0.012, 0.008, 0.02, 4)
    monkeypatch.setattr("thrifty.instrument.floor.measure_floor", lambda: floor)
    assert examine(tmp_path).noise_floor == floor
    kept = kept_floor(tmp_path)
    assert isinstance(kept, KeptFloor)
    assert kept.share == 0.012
    assert kept.measured.startswith("20"), "the day it was measured on"


@pytest.mark.usefixtures("small")
def test_a_quick_look_measures_no_noise_floor(tmp_path: Path) -> None:
    assert examine(tmp_path, quick=True).noise_floor is None
    assert kept_floor(tmp_path) is None


@pytest.mark.usefixtures("small")
def test_without_torch_the_rest_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "_devices", lambda: ([], "torch cannot be imported: libgomp.so.1: not found"))
    found = examine(tmp_path, quick=True)
    assert found.ceilings == []
    assert found.engines == dict.fromkeys(CHOICES["engine"], "torch cannot be imported: libgomp.so.1: not found")
    assert found.machine.cores_usable >= 1


def test_a_driver_that_fails_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> list[Any]:
        raise RuntimeError("CUDA driver version is insufficient\nfor the runtime")

    monkeypatch.setattr("thrifty.execution.usable.usable_devices", fails)
    assert doctor._devices() == ([], "torch finds no devices: CUDA driver version is insufficient")


@pytest.mark.parametrize(
    ("cache", "free", "size"),
    [
        (32.0, 16_000.0, 128),  # four times the cache
        (1.0, 16_000.0, 64),
        (1152.0, 64_000.0, 512),
        (32.0, 400.0, 50),  # an eighth of what is free
        (None, None, 128),
        (32.0, 0.0, 1),
    ],
)
def test_arrays_are_far_above_the_cache_and_fit_the_memory(cache: float | None, free: float | None, size: int) -> None:
    assert array_mib(cache, free) == size


@pytest.mark.parametrize(
    ("name", "rate", "fp32", "note"),
    [
        ("fp16", 5e9, 1e11, "slower than fp32, 20 times: it saves no time here"),
        ("bf16", 2e11, 1e11, None),
        ("fp32", 1e11, 1e11, None),
        ("fp16", 5e9, None, None),
    ],
)
def test_a_dtype_slower_than_fp32_is_marked(name: str, rate: float, fp32: float | None, note: str | None) -> None:
    assert note_of_dtype(name, rate, fp32) == note


def test_an_attempt_gives_what_was_found_or_why_not() -> None:
    later = time.perf_counter() + 60

    def fails(error: Exception) -> Any:
        raise error

    assert attempt(lambda: 1.5, later) == 1.5
    assert attempt(lambda: fails(MemoryError()), later) == "MemoryError"
    assert attempt(lambda: fails(NotImplementedError("not for Half")), later) == "not for Half"
    assert attempt(lambda: 1.5, time.perf_counter() - 1) == TOO_LATE


def test_an_error_is_told_in_a_line() -> None:
    assert first_line(RuntimeError("\n  first \nsecond")) == "first"
    assert first_line(RuntimeError("")) == "RuntimeError"
