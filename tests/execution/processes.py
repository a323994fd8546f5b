"""Whether processes of tests still run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells of processes through /proc and ends them with their parent"
)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is gone and not yet waited for by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, limit: float = 10) -> bool:
    end = time.monotonic() + limit
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)
