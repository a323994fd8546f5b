"""Who uses the cores, from two readings of /proc/stat."""

from __future__ import annotations

import os

import pytest

from thrifty.execution import proc_stat
from thrifty.execution.proc_stat import Load, busiest, load_between, look_at_load, parse_process
from thrifty.measure.cpu_times import CpuTimes


def test_what_others_did_is_all_but_our_own() -> None:
    before, after = CpuTimes(2000, 990, 10), CpuTimes(2100, 1010, 15)
    # 75 ticks of 10 ms are 0.75 s of work in 0.5 s, of which 0.05 s was ours: 1.4 cores.
    found = load_between(before, after, own_s=0.05, elapsed_s=0.5, ticks_per_s=100)
    assert found is not None
    assert found.others_cores == pytest.approx(1.4)
    assert found.stolen_share == pytest.approx(0.05)


def test_ticks_that_lag_behind_make_no_load_below_nothing() -> None:
    assert load_between(CpuTimes(100, 85, 5), CpuTimes(200, 186, 4), 0.1, 0.5, 100) == Load(0.0, 0.0)


def test_a_clock_that_stood_still_tells_nothing() -> None:
    same = CpuTimes(100, 90, 0)
    assert load_between(same, same, 0.0, 0.5, 100) is None


def test_a_process_is_named_by_what_stands_in_brackets() -> None:
    text = "71 (tmux: a) (b\x1b[1m) S 1 71 71 0 -1 4194560 100 0 0 0 250 30 7 9 20 0 1 0 55 0 0\n"
    assert parse_process(text) == ("tmux: a) (b[1m", 280)


@pytest.mark.parametrize("text", ["", "71 (a) S 1 2", "71 (a) S 1 71 71 0 -1 0 0 0 0 0 x y"])
def test_a_process_of_another_form_is_an_error_that_the_reader_expects(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_process(text)


def test_the_processes_that_do_most_are_named_and_not_this_one() -> None:
    before = {1: ("init", 10), 2: ("cc1", 100), 3: ("python3", 0), 4: ("a", 0), 5: ("b", 0), os.getpid(): ("me", 0)}
    after = {
        1: ("init", 14), 2: ("cc1", 120), 3: ("python3", 48), 4: ("a", 10), 5: ("b", 9),
        6: ("new", 50), os.getpid(): ("me", 50),
    }  # fmt: skip
    assert busiest(before, after, ticks=50) == ("python3 (3) 0.96", "cc1 (2) 0.40", "a (4) 0.20")
    assert busiest(before, before, ticks=50) == ()


def test_without_proc_nothing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(proc_stat, "_STAT", tmp_path / "none")
    assert look_at_load(0.0) is None
