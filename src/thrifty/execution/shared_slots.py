"""Memory without a name that two processes share: arrays are put into it, and the pipe between the processes tells only where.

A pipe would copy every batch twice, in pieces of its own size.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from multiprocessing.connection import Connection

import numpy as np


class Slots:
    """Some slots of one size. Nothing is left of them once both processes have let go, however they end.

    Raises:
        OSError: there is no such memory to be had.
    """

    def __init__(self, count: int, least_bytes: int) -> None:
        pages = -(-max(least_bytes, 1) // mmap.ALLOCATIONGRANULARITY)
        self.slot_bytes = pages * mmap.ALLOCATIONGRANULARITY
        self.bytes = count * self.slot_bytes
        self._descriptor = _nameless()
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(
                    self._descriptor, 0, self.bytes
                )  # what there is no room for must fail here, not when it is written
            else:
                os.ftruncate(self._descriptor, self.bytes)
            self._memory = mmap.mmap(self._descriptor, self.bytes)
        except BaseException:
            os.close(self._descriptor)
            raise

    def give(self, connection: Connection, pid: int) -> None:
        """Let the process at the other end of a pipe have them: it calls `taken` for it."""
        try:
            reduction.send_handle(connection, self._descriptor, pid)
        finally:
            os.close(self._descriptor)

    def put(self, slot: int, array: np.ndarray) -> None:
        """Copy an array into a slot that holds it."""
        array_in(self._memory, slot * self.slot_bytes, array.shape, array.dtype.str)[...] = array


def taken(connection: Connection, size: int) -> mmap.mmap:
    """The memory that the other end of a pipe gives."""
    descriptor = reduction.recv_handle(connection)
    try:
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def array_in(memory: mmap.mmap, offset: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array that lies in shared memory; no copy."""
    return np.ndarray(shape, dtype, buffer=memory, offset=offset)


def _nameless() -> int:
    """A file that only its descriptor knows: in memory where the system has such, else on disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("thrifty", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
