"""A fork server that holds the imports, so that a process is ready in a few hundredths of a second. Imports no torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from thrifty.execution import libraries
from thrifty.stop import REASONS

RUNS = "thrifty.execution.preload"
"""What a run's worker needs: Lightning above all, some 5 s."""
ARMS = "thrifty.execution.preload_arms"
"""What predicting takes: torch and the building of models, some 2 s."""
_BIND = "OMP_PROC_BIND"
_last: dict[str, str] = {}
"""What `told` was given last."""
_LONGEST_SOCKET_NAME = 104
"""Bytes, of the systems we know the fewest."""


def context(preload: str = RUNS, before: Sequence[str] = ()) -> Any:
    """A fork server's context where there can be one, else that of fresh interpreters.

    There is one fork server a process, and what it holds is settled when it starts.

    Args:
        before: further modules it is to hold, imported first; one that cannot be imported is left to the worker to tell of.
    """
    libraries.prepare()  # read when the worker's libraries are loaded, so it is set before the worker exists
    if not fits():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([*before, preload])
    return found


def wait_until_ready(preload: str = RUNS, before: Sequence[str] = ()) -> None:
    """Wait for the fork server's imports: while they go on, the machine is not itself."""
    if not fits():
        return
    warm_up(preload, before)
    process = context(preload, before).Process(target=os.getpid)
    with contextlib.suppress(EOFError, ConnectionError):  # it cannot import: whoever needs it says so
        process.start()
        process.join()


@contextlib.contextmanager
def told(bind_threads: bool, further: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Within it, fork servers start with variables that other processes of ours are not to have; what the user has said stays as it is.

    Args:
        bind_threads: whether the threads of OpenMP keep their cores: less wandering, less scatter. Not where other libraries make threads
            of their own, as ONNX Runtime and OpenVINO do: the first thread keeps its core as well, and theirs, which inherit that, would
            all share it.
        further: variables by name.
    """
    _last.clear()
    _last.update({**({_BIND: "true"} if bind_threads else {}), **further})
    with _in_environment(_last):
        yield


@contextlib.contextmanager
def told_by_itself() -> Iterator[None]:
    """Where there are no fork servers, a process that starts within it has what they were told last."""
    with contextlib.nullcontext() if fits() else _in_environment(_last):
        yield


@contextlib.contextmanager
def _in_environment(wanted: Mapping[str, str]) -> Iterator[None]:
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def renew() -> None:
    """Wait until the fork server's processes have ended, and end it: the next process comes from a fresh one.

    All that it makes have their libraries and their heaps at the same addresses, which makes one loop a few thousandths faster than
    another in every process of one fork server, and slower in those of the next.
    """
    if not fits():
        return
    from multiprocessing import forkserver

    forkserver._forkserver._stop()  # pyright: ignore[reportAttributeAccessIssue] - there is no public way


def fits() -> bool:
    """Whether there are fork servers here, and room for the name of the socket they listen at, in the temporary directory."""
    longest = len(os.fsencode(tempfile.gettempdir())) + len("/pymp-12345678/listener-12345678")
    return "forkserver" in multiprocessing.get_all_start_methods() and longest < _LONGEST_SOCKET_NAME


def start(process: Any) -> None:
    """Start a process of `context`'s.

    Raises:
        EOFError, ConnectionError: the fork server's imports failed.
    """
    # A spawned interpreter inherits that signals are held until it is a worker; what the fork server makes, from that.
    with contextlib.nullcontext() if fits() else interrupts_held():
        process.start()


def end(process: Any, patience: float = 2.0) -> None:
    """End a process that leads a group of its own, and what it has started; waits until it is gone.

    Args:
        patience: seconds in which it may end by itself.
    """
    process.join(timeout=patience)
    if process.pid is not None and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.is_alive():  # it has no group yet, or there are none here
        process.kill()
    process.join()


def warm_up(preload: str = RUNS, before: Sequence[str] = ()) -> None:
    """Start the fork server's imports, as `context` says them; returns at once."""
    if not fits():
        return
    context(preload, before)
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # would unblock interrupts where the fork server starts it
    # Ctrl-C reaches every process of the terminal, and a cluster's signals every process of a job. The fork server takes no note of
    # them from its first moment: it ends with us, and without it nobody could tell how a worker ended that is just saving its weights.
    with interrupts_held():
        forkserver.ensure_running()


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Within it what asks us to stop waits, for ever in the processes started there, unless they let it in; afterwards it comes to us."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REASONS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
