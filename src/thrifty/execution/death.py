"""How processes die, and with whom: told alike of workers, arms and lean processes. Imports no torch."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

from thrifty.stop import EXIT_CODES, REASONS

_VMSTAT = Path("/proc/vmstat")
_PR_SET_PDEATHSIG = 1


def cause_of_death(exit_code: int, kernel_killed: bool, who: str, log: str | None = None) -> tuple[str, str]:
    """Status and reason of a process that died without a word.

    Args:
        exit_code: below 0 the number of the signal that ended it.
        kernel_killed: whether `kernel_kills` rose meanwhile.
        log: the file that holds what it printed.
    """
    name = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    if kernel_killed and exit_code == -signal.SIGKILL:
        return "oom", f"{who} died of {name}; the kernel's out-of-memory killer ended it"
    words = "" if log is None else f"; {log} holds its last words"
    return "killed", f"{who} died of {name}{words}"


def kernel_kills() -> int:
    """Processes the kernel has killed for want of memory since it booted."""
    try:
        lines = _VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


_OUT_OF_MEMORY = (
    "t allocate memory",
    "failed to map segment",
    "failed to allocate memory",
    "bad_alloc",
    "error: out of memory",
    "alloc_failed",
)
"""As torch, the loader, ONNX Runtime, C++, CUDA and cuBLAS say it."""


def out_of_memory(error: Exception) -> bool:
    """Whether memory was what failed: Python's, torch's, or that of loading a library."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(one in text for one in _OUT_OF_MEMORY)


def first_line(error: BaseException) -> str:
    """What an error says, in one line: the first, and the next where that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    found = lines.pop(0)
    while found.endswith(":") and lines:
        found = f"{found} {lines.pop(0)}"
    return found


def ask_for_the_parent_s_end() -> None:
    """Ask the kernel for SIGTERM when the process that started this one is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started this one is gone; end here if it is already.

    Where a fork server did, its end is the command line's.
    """
    ask_for_the_parent_s_end()
    if hasattr(signal, "pthread_sigmask"):  # a fork server holds them back
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(REASONS) - {signal.SIGINT})
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(EXIT_CODES["terminated"])


def end_with_the_command_line() -> None:
    """End this process and its group as soon as the command line is gone, also in the middle of a computation; returns at once.

    The kernel's word of a parent's death tells of the fork server, which stays as long as one of its children does.
    """
    threading.Thread(target=_wait_for_the_command_line, daemon=True).start()


def _wait_for_the_command_line() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()  # asleep
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
