"""The clock that leaves out the time in which another process had our core."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from thrifty.measure import own_clock
from thrifty.measure.own_clock import OwnClock, Reading, seconds_between

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a thread waited for a core")


@LINUX
def test_sleeping_is_time() -> None:
    clock = OwnClock()
    assert clock.tells_waits
    begin = clock.read()
    time.sleep(0.05)
    assert seconds_between(begin, clock.read()) > 0.045


@LINUX
def test_waiting_for_a_core_is_not() -> None:
    """Two processes that compute on one core: what we wait and what we compute are what passes."""
    core = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    endless = f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", endless], stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        os.sched_setaffinity(0, {core})
        try:
            tries = [_computing(0.2) for _ in range(5)]
        finally:
            os.sched_setaffinity(0, before)
            neighbour.kill()
    # A hypervisor may take the core from both, which no clock of ours tells of: it only ever adds.
    wall, own, computed = min(tries, key=lambda one: one[1] - one[2])
    assert wall > 1.3 * computed, "the neighbour took a good part of the core"
    assert own == pytest.approx(computed, rel=0.05)


def _computing(seconds: float) -> tuple[float, float, float]:
    """Compute for so long by the thread's own count; returns what passed by the wall, by our clock and by that count."""
    clock = OwnClock()
    wall, own, computed = time.perf_counter(), clock.read(), time.thread_time()
    while time.thread_time() - computed < seconds:
        pass
    return time.perf_counter() - wall, seconds_between(own, clock.read()), time.thread_time() - computed


def test_what_reading_costs_is_not_time_unless_it_had_to_wait() -> None:
    first, last = Reading(1.0, 1.00002, 0.5), Reading(1.00202, 1.00205, 0.5)
    assert seconds_between(first, last) == pytest.approx(0.002)
    # Two milliseconds without a core, as the second reading began: told as waited, and in its time.
    late = Reading(1.00202, 1.00405, 0.502)
    assert seconds_between(first, late) == pytest.approx(0.002, abs=2e-4)
    # The same, after the kernel was asked: not told yet, and not in the block either but for a little.
    early = Reading(1.0, 1.00202, 0.5)
    assert seconds_between(early, Reading(1.00402, 1.00405, 0.502)) == pytest.approx(0.002, abs=2e-4)


def test_where_nothing_is_told_it_is_the_ordinary_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_clock, "_SCHEDSTAT", own_clock.Path("/nowhere"))
    clock = OwnClock()
    assert not clock.tells_waits
    assert clock.waited() == 0
    begin, before = clock.read(), time.perf_counter()
    time.sleep(0.01)
    assert seconds_between(begin, clock.read()) == pytest.approx(time.perf_counter() - before, abs=2e-3)


def test_it_is_of_one_thread() -> None:
    clock, seen = OwnClock(), []

    def ask() -> None:
        with pytest.raises(AssertionError):
            clock.read()
        seen.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen
