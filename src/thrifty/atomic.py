"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write through a temporary file in the same directory, flushed to disk before it takes the name.

    Raises:
        OSError: the disk is full or the directory cannot be written; the old file, if any, is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    write_file_atomically(path, lambda temporary: temporary.write_bytes(data))


def write_file_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """The same for a writer that wants a path."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    sync_directory(path.parent)


def share(path: Path) -> None:
    """Give a file the mode of one that was opened for writing, as some libraries make files that only their owner can read."""
    if os.name == "posix":
        path.chmod(0o666 & ~_umask())


def _umask() -> int:
    """It is only told to who sets it, which threads beside us would be hit by; Linux tells it otherwise, too."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sync_directory(path: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
