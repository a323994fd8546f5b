"""Peak memory against allocations of known size."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from thrifty.measure import memory

MIB = 64
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
KNOWN_SIZES = pytest.mark.parametrize("mib", [64, 256])


def _allocate(mib: int = MIB) -> np.ndarray:
    """So many MiB of the system's own, every page of them written, given back to it when they are freed.

    The allocator might take them from what other tests of this process have freed: then no page is touched for the first time.
    """
    pages = np.frombuffer(mmap.mmap(-1, mib * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), dtype=np.uint8)
    pages.fill(1)
    return pages


def _give_back() -> None:
    """Return to the system what this process has freed: the allocator may keep it, and then no page of it is new when taken again."""
    ctypes.CDLL(None).malloc_trim(0)


def _grown(peak: memory.PeakHostMemory) -> float:
    assert peak.reason is None
    assert peak.peak_mib is not None
    assert peak.before_mib is not None
    return peak.peak_mib - peak.before_mib


@linux
@KNOWN_SIZES
def test_a_peak_is_seen_after_it_is_gone_and_not_by_the_next_measurement(mib: int) -> None:
    with memory.PeakHostMemory() as peak:
        _allocate(mib)
    assert _grown(peak) == pytest.approx(mib, rel=0.03)
    with memory.PeakHostMemory() as calm:
        pass
    assert _grown(calm) < mib * 0.03


@linux
@KNOWN_SIZES
def test_what_came_before_and_was_freed_is_no_part_of_the_peak(mib: int) -> None:
    _allocate(2 * mib)
    with memory.PeakHostMemory() as peak:
        _allocate(mib)
    assert _grown(peak) == pytest.approx(mib, rel=0.03)


@linux
def test_the_peak_is_that_of_what_is_alive_at_once() -> None:
    with memory.PeakHostMemory() as one_by_one:
        for _ in range(3):
            _allocate()
    with memory.PeakHostMemory() as together:
        kept = [_allocate() for _ in range(3)]
    assert _grown(one_by_one) == pytest.approx(MIB, rel=0.03)
    assert _grown(together) == pytest.approx(len(kept) * MIB, rel=0.03)


@linux
@KNOWN_SIZES
def test_the_peak_of_tensors_is_theirs_too(mib: int) -> None:
    torch.ones(2)  # what torch makes at its first tensor
    _give_back()
    with memory.PeakHostMemory() as peak:
        kept = torch.ones(mib * 2**20 // 4)
    after = memory.host_memory()
    del kept
    _give_back()
    freed = memory.host_memory()
    assert after is not None
    assert freed is not None
    assert _grown(peak) == pytest.approx(mib, rel=0.03)
    assert after.anonymous_mib - freed.anonymous_mib == pytest.approx(mib, rel=0.03)


@linux
@KNOWN_SIZES
def test_what_a_process_writes_is_told_apart_from_what_it_maps(mib: int, tmp_path: Path) -> None:
    before = memory.host_memory()
    kept = _allocate(mib)
    written = memory.host_memory()
    file = tmp_path / "weights"
    file.write_bytes(kept.tobytes())
    settled = memory.host_memory()
    mapped = np.memmap(file, dtype=np.uint8, mode="r")
    assert int(mapped[::4096].sum()) == len(mapped) // 4096
    after = memory.host_memory()
    assert before is not None
    assert written is not None
    assert settled is not None
    assert after is not None
    assert written.anonymous_mib - before.anonymous_mib == pytest.approx(mib, rel=0.03)
    assert written.file_mib - before.file_mib == pytest.approx(0, abs=1)
    assert after.file_mib - settled.file_mib == pytest.approx(mib, rel=0.03)
    assert after.anonymous_mib - settled.anonymous_mib == pytest.approx(0, abs=1)


@linux
@pytest.mark.parametrize("missing", ["CLEAR_REFERENCES", "STATUS"])
def test_where_the_peak_cannot_be_reset_it_says_so(missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, missing, tmp_path / "nothing" / "here")
    with memory.PeakHostMemory() as peak:
        pass
    assert peak.reason == "peak since the process began: it cannot be reset here (No such file or directory)"
    assert peak.peak_mib is not None
    assert peak.peak_mib > 10


@linux
def test_a_status_without_a_peak_falls_back_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("VmRSS:\t   2048 kB\n")
    monkeypatch.setattr(memory, "STATUS", status)
    with memory.PeakHostMemory() as peak:
        pass
    assert peak.reason is not None
    assert "no VmHWM" in peak.reason
    assert memory.host_memory() is None


def test_a_cpu_has_no_device_memory() -> None:
    memory.reset_peak_device(torch.device("cpu"))
    assert memory.peak_device_mib(torch.device("cpu")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_peak_on_the_device_is_seen_after_it_is_gone() -> None:
    device = torch.device("cuda")
    memory.reset_peak_device(device)
    before = memory.peak_device_mib(device)
    torch.ones(MIB * 2**20, dtype=torch.uint8, device=device)
    after = memory.peak_device_mib(device)
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(MIB, rel=0.01)
