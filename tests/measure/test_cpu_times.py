"""Processor time, of the cores and of our own processes: readings written by hand, and one real family."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from thrifty.measure.cpu_times import CpuTimes, own_seconds, parse_cpu_times

STAT = """cpu  112 32 42 412 62 18 19 20 102 22
cpu0 100 20 30 400 50 6 7 8 90 10
cpu1 2 2 2 2 2 2 2 2 2 2
cpu12 10 10 10 10 10 10 10 10 10 10
intr 5
"""


def test_cpu_times_by_hand() -> None:
    """Idle is idle and waiting; guests' time, the last two, is user time already; cores that are not ours are left out."""
    assert parse_cpu_times(STAT, {0}) == CpuTimes(total=621, idle=450, stolen=8)
    assert parse_cpu_times(STAT, {0, 1}) == CpuTimes(total=637, idle=454, stolen=10)
    assert parse_cpu_times(STAT, {3}) is None
    assert parse_cpu_times("intr 5\n\n", {0}) is None
    assert parse_cpu_times("", {0}) is None


def test_an_old_kernel_tells_fewer_fields() -> None:
    assert parse_cpu_times("cpu0 1 2 3 4\n", {0}) == CpuTimes(total=10, idle=4, stolen=0)


def test_what_ran_is_what_was_neither_idle_nor_stolen() -> None:
    passed = CpuTimes(1000, 500, 30).since(CpuTimes(900, 450, 20))
    assert (passed.total, passed.busy, passed.stolen) == (100, 40, 10)


def test_stolen_time_never_runs_backwards() -> None:
    assert CpuTimes(10, 5, 1).since(CpuTimes(5, 2, 2)).stolen == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of live children through /proc")
def test_a_child_counts_while_it_lives_and_when_it_has_ended() -> None:
    busy = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
    before = own_seconds()
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05)
        assert own_seconds() - before >= 0.28
        child.communicate("")
    ended = own_seconds() - before
    assert 0.28 <= ended < 3
