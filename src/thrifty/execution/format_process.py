"""The parent's side of a process that writes or reads weights in a format. Imports no torch."""

from __future__ import annotations

import sys

from thrifty.execution.lean import LeanProcess

MODULE = "thrifty.execution.format_worker"
_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
"""glibc gives memory back to the kernel as soon as it is let go, so that a peak is what was held at one time, not how the heap lay."""


def format_process(name: str) -> LeanProcess:
    """A fresh one for a format and packing by name; it imports what they need as soon as it is made."""
    return LeanProcess([sys.executable, "-P", "-m", MODULE, name], environment=_GIVEN_BACK)
