"""Rates of a disk: what is written and read again, and what becomes of a disk that cannot."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from moved_clock import MovedClock

from thrifty.measure import disk
from thrifty.measure.disk import MIB, disk_rates


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    one = MovedClock()
    monkeypatch.setattr(disk, "time", one)
    return one


def disk_of(clock: MovedClock, monkeypatch: pytest.MonkeyPatch, *mib_per_s: float) -> list[float]:
    """A disk that syncs at these rates in turn, the last again and again, and reads at twice the last; returns the MiB of each sync."""
    synced: list[float] = []
    read, left = os.read, list(mib_per_s)

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size / MIB)
        clock.now += synced[-1] / (left.pop(0) if len(left) > 1 else left[0])

    def read_slowly(descriptor: int, length: int) -> bytes:
        piece = read(descriptor, length)
        clock.now += len(piece) / MIB / (2 * mib_per_s[-1])
        return piece

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "read", read_slowly)
    return synced


def test_the_best_of_three_tries_counts(clock: MovedClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced = disk_of(clock, monkeypatch, 500, 64, 128, 96)  # the probe's 500 does not count
    rates = disk_rates(tmp_path, mib=32, seconds=60.0)
    assert rates.write == {"value": pytest.approx(128), "low": None, "high": None, "n": 3}
    assert synced == [8, 32, 32, 32]
    if hasattr(os, "posix_fadvise"):
        assert rates.read == {"value": pytest.approx(192), "low": None, "high": None, "n": 3}


def test_a_slow_disk_is_given_what_fits_the_time(clock: MovedClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced = disk_of(clock, monkeypatch, 16)  # 8 MiB take half a second, which leaves 1.5 s: 24 MiB
    rates = disk_rates(tmp_path, mib=128, seconds=2.0)
    assert (rates.write["value"], rates.write["n"]) == (pytest.approx(16), 1)
    assert synced == [8, 24]


def test_a_very_slow_disk_is_not_written_to_again(clock: MovedClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced = disk_of(clock, monkeypatch, 2)
    assert disk_rates(tmp_path, mib=128, seconds=2.0).write["value"] == pytest.approx(2)
    assert synced == [8]


def test_the_disk_takes_and_gives_and_is_left_as_it_was(tmp_path: Path) -> None:
    rates = disk_rates(tmp_path, mib=16, seconds=5.0)
    assert rates.write["value"] > 0
    if hasattr(os, "posix_fadvise"):
        assert rates.read["value"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_whole_file_is_read_after_the_page_cache_was_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("this system has no posix_fadvise")
    done: list[str] = []
    advise, read = os.posix_fadvise, os.read

    def watched_advise(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        done.append("dropped")
        advise(descriptor, offset, length, advice)

    def watched_read(descriptor: int, length: int) -> bytes:
        piece = read(descriptor, length)
        done.append(f"read {len(piece) // MIB}")
        return piece

    monkeypatch.setattr(os, "posix_fadvise", watched_advise)
    monkeypatch.setattr(os, "read", watched_read)
    disk_rates(tmp_path, mib=16, seconds=60.0)
    assert done == ["dropped", *["read 4"] * 4, "read 0"] * 3


def test_without_a_way_to_drop_the_page_cache_there_is_no_rate_of_reading(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    rates = disk_rates(tmp_path, mib=8)
    assert rates.write["value"] > 0
    assert rates.read["value"] is None
    assert "memory" in rates.read["reason"]


def test_a_directory_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    rates = disk_rates(tmp_path / "none")
    assert rates.write == rates.read == {"value": None, "reason": "No such file or directory"}


def test_a_disk_that_is_nearly_full_is_not_filled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=20 * MIB))
    assert disk_rates(tmp_path).write == {"value": None, "reason": "only 20 MiB are free"}


def test_a_disk_that_fills_up_meanwhile_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int, piece: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert disk_rates(tmp_path).write == {"value": None, "reason": "No space left on device"}
    assert list(tmp_path.iterdir()) == []
