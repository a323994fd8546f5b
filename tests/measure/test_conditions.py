"""What a measurement is told of the machine: readings written by hand, and one real look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thrifty.measure import conditions
from thrifty.measure.conditions import Conditions, Watch, canary, parse_counter, parse_waited
from thrifty.measure.cpu_times import CpuTimes
from thrifty.measure.statistics import Interval

STEADY = Interval(0.0010, 0.0009, 0.0011, 15)
PRESSURE = "some avg10=55.08 avg60=43.85 avg300=21.83 total=2535110416\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
NONE, NOTHING = CpuTimes(0, 0, 0), conditions._Reading()


def reading(cpu: CpuTimes | None = None, own: float = 0.0, **told: Any) -> conditions._Reading:
    return conditions._Reading(cpu, own, **told)


def between(before: conditions._Reading, after: conditions._Reading, seconds: float = 1.0) -> Conditions:
    return conditions._between(before, after, seconds)


def test_counters_by_hand() -> None:
    assert parse_counter("pswpin 12\npswpout 3\n", "pswpin") == 12
    assert parse_counter("pswpinned 12\n", "pswpin") is None


def test_pressure_by_hand() -> None:
    assert parse_waited(PRESSURE) == 2535110416
    assert parse_waited("full avg10=0.00 total=7\n") is None
    assert parse_waited("") is None
    found = between(reading(waited_us=1_000_000), reading(waited_us=1_500_000), seconds=2.0)
    assert found.waiting_share == pytest.approx(0.25)


def test_shares_by_hand() -> None:
    """Of 1000 ticks 500 idle, 20 stolen; of the 480 others 300 ours."""
    found = between(reading(NONE), reading(CpuTimes(1000, 500, 20), own=300))
    assert found.stolen_share == pytest.approx(0.02)
    assert found.others_share == pytest.approx(0.18)
    assert found.flags() == ["stolen_time", "busy_machine"]


def test_a_quiet_machine_raises_no_flag() -> None:
    assert between(reading(NONE), reading(CpuTimes(1000, 500, 5), own=490)).flags() == []


def test_a_span_of_few_ticks_tells_no_share() -> None:
    """One tick of 199 would be half of what is flagged."""
    found = between(reading(NONE), reading(CpuTimes(199, 50, 100)))
    assert found.stolen_share is found.others_share is None
    assert between(reading(NONE), reading(CpuTimes(200, 50, 100))).stolen_share == pytest.approx(0.5)


def test_coarse_ticks_never_make_a_negative_share() -> None:
    assert between(reading(NONE), reading(CpuTimes(1000, 500, 0), own=700)).others_share == 0


def test_a_system_that_tells_nothing_raises_no_flag() -> None:
    found = between(NOTHING, NOTHING)
    told = {name for name, value in found.as_record().items() if value is not None}
    assert told == {"seconds"}
    assert found.drift is None
    assert found.flags() == []


@pytest.mark.parametrize(
    ("later", "drifted"),
    [
        (Interval(0.0013, 0.0012, 0.0014), True),
        (Interval(0.0007, 0.0006, 0.0008), True),
        (Interval(0.0012, 0.00105, 0.0014), False),  # the intervals overlap
        (Interval(0.00103, 0.00103, 0.00103), False),  # a small drift, however sure
    ],
)
def test_the_canary_drifts_beyond_its_intervals(later: Interval, drifted: bool) -> None:
    assert ("canary_drift" in Conditions(1.0, STEADY, later).flags()) == drifted


def test_a_canary_without_its_other_half_drifts_nowhere() -> None:
    assert Conditions(1.0, STEADY, None).flags() == []


def test_swapping_is_told() -> None:
    assert between(reading(swapped_in=2), reading(swapped_in=5)).flags() == ["swapping"]
    assert between(reading(swapped_in=5), reading(swapped_in=5)).flags() == []


def test_heat_is_told_and_a_core_that_went_away_is_no_heat() -> None:
    assert between(reading(throttled=2), reading(throttled=3)).flags() == ["throttled"]
    assert between(reading(throttled=3), reading(throttled=1)).flags() == []


@pytest.mark.parametrize(("told", "flags"), [({"thermal"}, ["throttled"]), ({"power_cap"}, []), (set(), [])])
def test_a_gpu_that_is_hot_is_throttled_and_one_at_its_power_limit_is_not(told: set[str], flags: list[str]) -> None:
    found = between(reading(gpu_slowdowns=set()), reading(gpu_slowdowns=told))
    assert found.gpu_slowdowns == sorted(told)
    assert found.flags() == flags


def test_sensors_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "class/thermal/thermal_zone0/temp": "45500",
        "class/thermal/thermal_zone1/temp": "-2000",
        "class/thermal/thermal_zone2/temp": "N/A",
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "3000000",
        "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2000000",
        "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
        "devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": "4",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(conditions, "_SYS", tmp_path)
    found = conditions._Reading.now(None)
    assert (found.temperature, found.frequency_mhz, found.throttled) == (45.5, 2500.0, 7)


def test_a_system_without_proc_and_sys_tells_nothing_and_fails_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_PROC", tmp_path / "none")
    monkeypatch.setattr(conditions, "_SYS", tmp_path / "none")
    with Watch(canaries=False) as watch:
        pass
    assert watch.conditions is not None
    assert watch.conditions.others_share is watch.conditions.temperature is watch.conditions.swapped_in is None
    assert watch.conditions.flags() == []


def test_work_that_fails_is_told_of_without_a_second_canary() -> None:
    watch = Watch()
    with pytest.raises(KeyError), watch:
        raise KeyError
    assert watch.conditions is not None
    assert watch.conditions.canary_before is not None
    assert watch.conditions.canary_after is None


def test_what_other_processes_of_ours_spent_is_not_taken_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 busy ticks 100 are this process's, 390 those of ranks beside it."""
    readings = iter([reading(NONE), reading(CpuTimes(1000, 500, 0), own=100)])
    monkeypatch.setattr(conditions._Reading, "now", lambda gpu: next(readings))
    with Watch(canaries=False) as watch:
        watch.elsewhere_s = 390 / conditions.ticks_a_second()
    assert watch.conditions is not None
    assert watch.conditions.others_share == pytest.approx(0.01)


def test_a_real_look() -> None:
    with Watch() as watch:
        sum(range(100_000))
    found = watch.conditions
    assert found is not None
    assert found.seconds > 0
    assert found.canary_before is not None
    assert found.canary_before.low is not None
    assert 1e-5 < found.canary_before.value < 1
    record = json.loads(json.dumps(found.as_record()))
    assert record["canary_after"]["n"] == 15


def test_the_canary_takes_what_it_says() -> None:
    assert canary().n == 15
