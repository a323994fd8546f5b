"""The state of the machine, from files as the kernel writes them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from thrifty.execution import readings
from thrifty.execution.machine import describe_machine
from thrifty.execution.readings import (
    free_memory_mib,
    on_battery,
    parse_meminfo,
    powersave_cores,
    read_state,
    throttle_counts,
    throttled_since,
    zone_at_its_limit,
)


def write(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text + "\n")


def test_sizes_of_meminfo_are_in_mib() -> None:
    text = "MemTotal:       2048 kB\nMemAvailable:   512 kB\nHugePages_Total:     3\nSwapTotal: 0 kB\nnonsense\n"
    assert parse_meminfo(text) == {"MemTotal": 2.0, "MemAvailable": 0.5, "SwapTotal": 0.0}


@pytest.mark.parametrize(
    ("available", "limit", "used", "expected"),
    [
        (900.0, None, None, (900.0, False)),
        (900.0, 500.0, 100.0, (400.0, True)),
        (300.0, 500.0, 100.0, (300.0, False)),
        (900.0, 500.0, 600.0, (0.0, True)),
        (900.0, 500.0, None, (900.0, False)),
        (None, 500.0, 100.0, (400.0, True)),
        (None, None, None, (None, False)),
    ],
)
def test_free_memory_is_the_lesser_of_machine_and_control_group(
    available: float | None, limit: float | None, used: float | None, expected: tuple[float | None, bool]
) -> None:
    assert free_memory_mib(available, limit, used) == expected


def test_governors_are_counted_where_they_are_told(tmp_path: Path) -> None:
    assert powersave_cores(tmp_path) is None
    for cpu, governor in enumerate(("powersave", "performance", "powersave")):
        write(tmp_path / f"cpu{cpu}/cpufreq", scaling_governor=governor)
    assert powersave_cores(tmp_path) == 2


def test_heat_is_told_by_counts_that_rose(tmp_path: Path) -> None:
    write(tmp_path / "cpu0/thermal_throttle", core_throttle_count="4", package_throttle_count="10")
    write(tmp_path / "cpu1/thermal_throttle", core_throttle_count="nonsense")
    before = throttle_counts(tmp_path)
    assert sorted(before.values()) == [4, 10]
    assert throttled_since(before, tmp_path) is None
    write(tmp_path / "cpu0/thermal_throttle", core_throttle_count="6", package_throttle_count="11")
    assert throttled_since(before, tmp_path) == "slowed 3 times while we looked"
    assert throttled_since({}, tmp_path) is None  # what was not told before did not rise


def test_heat_is_told_by_a_zone_at_its_passive_trip_point(tmp_path: Path) -> None:
    zone = {"trip_point_0_type": "critical", "trip_point_0_temp": "60000", "trip_point_1_type": "passive"}
    write(tmp_path / "thermal_zone0", type="x86_pkg_temp", temp="84000", trip_point_1_temp="85000", **zone)
    assert zone_at_its_limit(tmp_path) is None
    write(tmp_path / "thermal_zone0", temp="86000")
    assert zone_at_its_limit(tmp_path) == "x86_pkg_temp at 86 of 85 degrees"
    write(tmp_path / "thermal_zone0", trip_point_1_temp="-274000")  # switched off
    assert zone_at_its_limit(tmp_path) is None


def test_a_battery_counts_while_it_is_emptied(tmp_path: Path) -> None:
    assert on_battery(tmp_path / "none") is None
    write(tmp_path / "AC", type="Mains", online="0")
    write(tmp_path / "mouse", type="Battery", scope="Device", status="Discharging")
    assert on_battery(tmp_path) is None
    write(tmp_path / "BAT0", type="Battery", status="Charging")
    assert on_battery(tmp_path) is False
    write(tmp_path / "BAT0", status="Discharging")
    assert on_battery(tmp_path) is True


def test_this_machine_is_read(tmp_path: Path) -> None:
    found = read_state(describe_machine(tmp_path), seconds=0.05)
    assert found.temporary_directory == tempfile.gettempdir()
    assert found.fork_server_known
    assert found.stolen_share is None or 0 <= found.stolen_share <= 1
    assert found.memory_free_mib is None or found.memory_free_mib > 0


def test_a_system_that_tells_nothing_is_read_without_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = describe_machine(tmp_path)
    for name in ("_MEMINFO", "_CPUS", "_SUPPLIES", "_ZONES", "_SHARED_MEMORY"):
        monkeypatch.setattr(readings, name, tmp_path / "none")
    monkeypatch.setattr(readings, "look_at_load", lambda seconds: None)

    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = read_state(machine)
    assert found.others_cores is found.swap_used_mib is found.shared_memory_free_mib is found.temporary_directory is None
    assert not found.fork_server_fits
