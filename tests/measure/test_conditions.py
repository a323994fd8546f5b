"""What a measurement is told of the machine: readings written by hand, and one real look."""

from __future__ import annotations

import pytest

from thrifty.measure import conditions
from thrifty.measure.conditions import Conditions, CpuTimes, Watch, canary, parse_counter, parse_cpu_times
from thrifty.measure.statistics import Interval

STEADY = Interval(0.0010, 0.0009, 0.0011, 15)
STAT = "cpu  100 20 30 400 50 6 7 8 90 10\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n"


def reading(cpu: CpuTimes | None, own: float = 0.0, switches: int = 0, swapped: int | None = 0) -> conditions._Reading:
    return conditions._Reading(cpu, own, switches, swapped, None)


def between(before: conditions._Reading, after: conditions._Reading, later: Interval = STEADY) -> Conditions:
    return conditions._between(before, after, 1.0, STEADY, later)


def test_cpu_times_by_hand() -> None:
    """Idle is idle and waiting; guests' time, the last two, is user time already."""
    assert parse_cpu_times(STAT) == CpuTimes(total=621, idle=450, stolen=8)
    assert parse_cpu_times("intr 5\n") is None
    assert parse_cpu_times("") is None


def test_counters_by_hand() -> None:
    assert parse_counter("pswpin 12\npswpout 3\n", "pswpin") == 12
    assert parse_counter("pswpinned 12\n", "pswpin") is None


def test_shares_by_hand() -> None:
    """Of 1000 ticks 500 idle, 20 stolen; of the 480 others 300 ours."""
    found = between(reading(CpuTimes(0, 0, 0)), reading(CpuTimes(1000, 500, 20), own=300))
    assert found.stolen_share == pytest.approx(0.02)
    assert found.others_share == pytest.approx(0.18)
    assert found.flags() == ["stolen_time", "busy_machine"]


def test_a_quiet_machine_raises_no_flag() -> None:
    assert between(reading(CpuTimes(0, 0, 0)), reading(CpuTimes(1000, 500, 5), own=490)).flags() == []


def test_coarse_ticks_never_make_a_negative_share() -> None:
    assert between(reading(CpuTimes(0, 0, 0)), reading(CpuTimes(10, 5, 0), own=7)).others_share == 0


def test_a_system_that_tells_nothing_raises_no_flag() -> None:
    found = between(reading(None, swapped=None), reading(None, swapped=None))
    assert found.stolen_share is found.others_share is found.swapped_in is None
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
    nothing = reading(CpuTimes(0, 0, 0))
    assert ("canary_drift" in between(nothing, nothing, later).flags()) == drifted


def test_swapping_is_told() -> None:
    nothing = CpuTimes(0, 0, 0)
    assert between(reading(nothing), reading(nothing, swapped=3)).flags() == ["swapping"]


def test_a_real_look() -> None:
    with Watch() as watch:
        sum(range(100_000))
    found = watch.conditions
    assert found.seconds > 0
    assert found.canary_before.low is not None
    assert 1e-5 < found.canary_before.value < 1
    assert set(found.as_record()) >= {"seconds", "canary_before", "canary_after", "stolen_share", "others_share"}


def test_the_canary_takes_what_it_says() -> None:
    assert canary().n == 15
