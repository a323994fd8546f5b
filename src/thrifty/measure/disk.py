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
_SPARE_SHARE = 0.25
"""Of the free space, the most that is taken."""


@dataclass(frozen=True)
class DiskRates:
    """Rates as metrics in MiB/s; what could not be measured is missing with its reason."""

    write: dict[str, Any]
    read: dict[str, Any]


def disk_rates(directory: Path, mib: int = 128, seconds: float = 2.0) -> DiskRates:
    """Write a nameless file of at most `mib` MiB, fsync'ed, and read it again from the disk.

    Args:
        seconds: about the longest that writing may take; a slow disk is given less to write.
    """
    try:
        with tempfile.TemporaryFile(dir=directory, prefix="thrifty-", buffering=0) as file:
            descriptor = file.fileno()
            free = shutil.disk_usage(directory).free // MIB
            allowed = min(mib, int(free * _SPARE_SHARE))
            if allowed < _PROBE_MIB:
                reason = f"only {free} MiB are free"
                return DiskRates(missing(reason), missing(reason))
            write = _write(descriptor, _PROBE_MIB)
            size = min(allowed - _PROBE_MIB, int((seconds - _PROBE_MIB / write) * write))
            if size >= _PROBE_MIB:  # the longer of the two is the one that counts
                write = _write(descriptor, size)
            return DiskRates(measured(write), _read(descriptor))
    except OSError as error:
        reason = error.strerror or str(error)
        return DiskRates(missing(reason), missing(reason))


def _write(descriptor: int, mib: int) -> float:
    """MiB/s of writing as many MiB that no file system can make smaller, until they lie on the disk."""
    piece = memoryview(os.urandom(_PIECE_MIB * MIB))
    begin = time.perf_counter()
    left = mib * MIB
    while left:
        left -= os.write(descriptor, piece[: min(left, len(piece))])
    os.fsync(descriptor)
    return mib / (time.perf_counter() - begin)


def _read(descriptor: int) -> dict[str, Any]:
    """MiB/s of reading the whole file, this system's page cache dropped first."""
    if not hasattr(os, "posix_fadvise"):
        return missing("this system cannot be told to forget a file, and would read it from memory")
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(descriptor, 0, os.SEEK_SET)
    begin = time.perf_counter()
    read = 0
    while piece := os.read(descriptor, _PIECE_MIB * MIB):
        read += len(piece)
    took = time.perf_counter() - begin
    if read != size:
        return missing(f"of {size} bytes written {read} were read")
    return measured(read / MIB / took)
