"""How fast a directory's disk takes and gives bytes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.metrics import measured, missing

MIB = 2**20
_PIECE_MIB = 4
_PROBE_MIB = 8
"""Written first, so that a slow disk is not given more than it can take in the time."""
_TRIES = 3
_SPARE_SHARE = 0.25
"""Of the free space, the most that is taken."""


@dataclass(frozen=True)
class DiskRates:
    """Rates as metrics in MiB/s; what could not be measured is missing with its reason."""

    write: dict[str, Any]
    read: dict[str, Any]


def disk_rates(directory: Path, mib: int = 128, seconds: float = 2.0) -> DiskRates:
    """Write a nameless file of at most `mib` MiB, fsync'ed, and read it again from the disk; the best of some tries.

    Single tries scatter: beside other work on the cores one showed 380 MiB/s of a disk that gave 1100 to 1600 soon after.

    Args:
        seconds: about the longest that writing may take, and reading after it; a slow disk is given less to write.
    """
    try:
        with tempfile.TemporaryFile(dir=directory, prefix="thrifty-", buffering=0) as file:
            free = shutil.disk_usage(directory).free // MIB
            allowed = min(mib, int(free * _SPARE_SHARE))
            if allowed < _PROBE_MIB:
                reason = f"only {free} MiB are free"
                return DiskRates(missing(reason), missing(reason))
            return DiskRates(_writing(file.fileno(), allowed, seconds), _reading(file.fileno(), seconds))
    except OSError as error:
        reason = error.strerror or str(error)
        return DiskRates(missing(reason), missing(reason))


def _writing(descriptor: int, mib: int, seconds: float) -> dict[str, Any]:
    """MiB/s of the fastest try; the probe counts only where there is time for no other."""
    piece = os.urandom(_PIECE_MIB * MIB)  # what no file system can make smaller
    end = time.perf_counter() + seconds
    probe = _PROBE_MIB / _write(descriptor, piece, _PROBE_MIB)
    size = min(mib, int((end - time.perf_counter()) * probe))
    rates: list[float] = []
    while size >= _PROBE_MIB and len(rates) < _TRIES and (not rates or time.perf_counter() + size / max(rates) < end):
        rates.append(size / _write(descriptor, piece, size))
    return measured(max(rates, default=probe), n=max(1, len(rates)))


def _write(descriptor: int, piece: bytes, mib: int) -> float:
    """Seconds of writing as many MiB into the emptied file, until they lie on the disk."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    view = memoryview(piece)
    begin = time.perf_counter()
    left = mib * MIB
    while left:
        left -= os.write(descriptor, view[: min(left, len(view))])
    os.fsync(descriptor)
    return time.perf_counter() - begin


def _reading(descriptor: int, seconds: float) -> dict[str, Any]:
    """MiB/s of the fastest try at the whole file, this system's page cache dropped before each."""
    if not hasattr(os, "posix_fadvise"):
        return missing("this system cannot be told to forget a file, and would read it from memory")
    size = os.lseek(descriptor, 0, os.SEEK_END)
    end = time.perf_counter() + seconds
    rates: list[float] = []
    while not rates or (len(rates) < _TRIES and time.perf_counter() + size / MIB / max(rates) < end):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.lseek(descriptor, 0, os.SEEK_SET)
        begin = time.perf_counter()
        read = 0
        while piece := os.read(descriptor, _PIECE_MIB * MIB):
            read += len(piece)
        if read != size:
            return missing(f"of {size} bytes written {read} were read")
        rates.append(read / MIB / (time.perf_counter() - begin))
    return measured(max(rates), n=len(rates))
