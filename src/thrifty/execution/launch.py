"""The parent's side of a run: start a worker, pass its events on, turn its death into a record. Imports no torch."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import OutOfMemory
from thrifty.events import Event, Finished, Refused, Started
from thrifty.record import new_record
from thrifty.store import RunDirectory

_VMSTAT = Path("/proc/vmstat")


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    path: Path | None
    """The run's directory; None where a gate refused it."""
    record: dict[str, Any] | None
    message: str | None
    """The one line of a refusal."""


def _context() -> Any:
    """A fork server that holds the imports where there are fork servers, else fresh interpreters."""
    # Threads that wait must not spin: beside any other load, a thread spinning for one that is off its core makes small
    # operations tens of times slower. Read when the worker's OpenMP is loaded, so it is set before the worker exists.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["thrifty.execution.preload"])
    return context


def warm_up() -> None:
    """Start the fork server's imports; returns at once."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        _context()
        from multiprocessing import forkserver

        forkserver.ensure_running()


def launch(config: Config, overrides: list[str], parent: Path, handle: Callable[[Event], None]) -> Outcome:
    """Run one experiment in a worker of its own; blocks until it has ended.

    Args:
        config: what `overrides` compose to; the worker composes them again for itself.
        parent: directory the run's own is made in.
        handle: receives every event of the run, in order.
    """
    from thrifty.execution.worker import Job, work

    descriptor, log = tempfile.mkstemp(prefix="thrifty-", suffix=".log")
    os.close(descriptor)
    job = Job(overrides, str(parent), log, secrets.token_hex(8))
    kills_before = _kernel_kills()
    context = _context()
    receiver, sender = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(target=work, args=(sender, job))
    try:
        process.start()
        sender.close()
        with _forwarding(process):
            last, started = _listen(receiver, process, handle)
        process.join()
        if isinstance(last, Finished):
            return Outcome(last.exit_code, Path(last.path), last.record, None)
        if isinstance(last, Refused):
            if os.environ.get("THRIFTY_DEBUG") == "1" and last.details:
                sys.stderr.write(last.details)
            return Outcome(last.exit_code, None, None, last.message)
        finished = _bury(process.exitcode or 0, started, job, config, _kernel_kills() > kills_before)
        handle(finished)
        return Outcome(finished.exit_code, Path(finished.path), finished.record, None)
    finally:
        Path(log).unlink(missing_ok=True)


def _listen(receiver: Connection, process: BaseProcess, handle: Callable[[Event], None]) -> tuple[Event | None, Started | None]:
    """Pass events on until the worker is gone; returns its last word on the run and the word of its start."""
    last: Event | None = None
    started: Started | None = None
    while True:
        ready = wait([receiver, process.sentinel])
        if receiver in ready:
            try:
                event = receiver.recv()
            except (EOFError, OSError):
                return last, started
            if isinstance(event, Started):
                started = event
            if isinstance(event, (Finished, Refused)):
                last = event
            handle(event)
        elif not receiver.poll():
            return last, started


@contextlib.contextmanager
def _forwarding(process: BaseProcess) -> Iterator[None]:
    """Give SIGINT and SIGTERM to the worker, which ends at a safe place; a third one kills it."""
    received = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if process.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number if received < 3 else signal.SIGKILL)
        if received == 1:
            sys.stderr.write("\nstopping at the next step; the weights will be kept (twice more kills)\n")

    before = {one: signal.signal(one, forward) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _bury(exit_code: int, started: Started | None, job: Any, config: Config, kernel_killed: bool) -> Finished:
    """The record of a worker that died without one."""
    name = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    status = "oom" if kernel_killed and exit_code == -signal.SIGKILL else "killed"
    hint = "the kernel's out-of-memory killer ended it" if status == "oom" else "run.log holds its last words"
    reason = f"the worker died of {name}; {hint}"
    if started is None:
        directory = RunDirectory.claim(Path(job.parent), new_record(plain(config), job.overrides, job.attempt))
        with contextlib.suppress(OSError):
            (directory.path / "run.log").write_bytes(Path(job.log).read_bytes())
    else:
        directory = RunDirectory.take_over(Path(started.path))
        for leftover in directory.path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    directory.finish(status, reason)
    return Finished(str(directory.path), directory.record, OutOfMemory.exit_code)


def _kernel_kills() -> int:
    """Processes the kernel has killed for want of memory since it booted."""
    try:
        lines = _VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
