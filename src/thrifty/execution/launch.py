"""The parent's side of a run: start a worker, pass its events on, turn its death into a record. Imports no torch."""

from __future__ import annotations

import contextlib
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
from typing import TYPE_CHECKING, Any

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import OutOfMemory
from thrifty.events import HEARD, Event, Finished, Refused, Started
from thrifty.execution import fork_server
from thrifty.execution.batch_size import BatchSize
from thrifty.execution.death import cause_of_death, kernel_kills
from thrifty.record import new_record
from thrifty.stop import REASONS
from thrifty.store import LOCK, RunDirectory

if TYPE_CHECKING:
    from thrifty.execution.worker import Job


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    path: Path | None
    """The run's directory; None where a gate refused it."""
    record: dict[str, Any] | None
    message: str | None
    """The one line of a refusal."""


def launch(
    config: Config,
    overrides: list[str],
    parent: Path,
    handle: Callable[[Event], None],
    resumed: Path | None = None,
    batch_size: BatchSize | None = None,
) -> Outcome:
    """Run one experiment in a worker of its own; blocks until it has ended.

    Args:
        config: what `overrides` compose to.
        parent: directory the run's own is made in.
        handle: receives every event of the run, in order.
        resumed: directory of a run that goes on; None begins one.
        batch_size: what was found for batch_size=auto.
    """
    from thrifty.execution.worker import Job, work

    descriptor, log = tempfile.mkstemp(prefix="thrifty-", suffix=".log")
    os.close(descriptor)
    job = Job(config, overrides, str(parent), log, secrets.token_hex(8), None if resumed is None else str(resumed), batch_size)
    kills_before = kernel_kills()
    context = fork_server.context()
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(target=work, args=(theirs, job))
    try:
        with ours, _forwarding(process):  # until the record is written, whoever writes it
            with theirs:
                refused = _start(process)
            last, started = (refused, None) if refused else _listen(ours, process, handle)
            if isinstance(last, Finished):
                return Outcome(last.exit_code, Path(last.path), last.record, None)
            if isinstance(last, Refused):
                if os.environ.get("THRIFTY_DEBUG") == "1" and last.details:
                    sys.stderr.write(last.details)
                if started is None and last.exit_code != OutOfMemory.exit_code:
                    return Outcome(last.exit_code, None, None, last.message)
                code, reason = last.exit_code, last.message
                status = "oom" if code == OutOfMemory.exit_code else "error"
            else:
                code = OutOfMemory.exit_code
                status, reason = cause_of_death(process.exitcode or 0, kernel_kills() > kills_before, "the worker", "run.log")
            finished = _bury(status, reason, code, started, job)
            handle(finished)
            return Outcome(code, Path(finished.path), finished.record, None)
    finally:
        Path(log).unlink(missing_ok=True)


def _start(process: BaseProcess) -> Refused | None:
    """Start the worker, which waits for the fork server's imports; returns why there is none."""
    fork_server.warm_up()
    try:
        # A spawned interpreter inherits that Ctrl-C is held until it is a worker; what the fork server makes, from that.
        with contextlib.nullcontext() if fork_server.fits() else fork_server.interrupts_held():
            process.start()
    except (EOFError, ConnectionError):
        return Refused(
            "no worker could be started: its imports failed, as a rule for want of memory; give it more, or run less beside it",
            OutOfMemory.exit_code,
        )
    return None


def _listen(
    connection: Connection, process: BaseProcess, handle: Callable[[Event], None]
) -> tuple[Event | None, Started | None]:
    """Pass events on until the worker is gone; returns its last word on the run and the word of its start."""
    last: Event | None = None
    started: Started | None = None
    while True:
        ready = wait([connection, process.sentinel])
        if connection in ready:
            try:
                event = connection.recv()
            except (EOFError, OSError):
                process.join()
                return last, started
            if isinstance(event, Started):
                started = event
            if isinstance(event, (Finished, Refused)):
                last = event
            handle(event)
            if isinstance(event, Started):
                with contextlib.suppress(OSError):
                    connection.send(HEARD)
        elif not connection.poll():
            process.join()
            return last, started


@contextlib.contextmanager
def _forwarding(process: BaseProcess) -> Iterator[None]:
    """Give what asks us to stop to the worker, which ends at a safe place; a third one kills it.

    Before there is a worker they end the command line, and a worker that is just being made ends with it.
    """
    received = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if process.pid is None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)
        received += 1
        with contextlib.suppress(ProcessLookupError):
            if received < 3:
                os.kill(process.pid, number)
            else:
                process.kill()
        if received == 1:
            sys.stderr.write("\nstopping at the next step; the weights will be kept (twice more kills)\n")

    before = {one: signal.signal(one, forward) for one in REASONS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _bury(status: str, reason: str, code: int, started: Started | None, job: Job) -> Finished:
    """The record of a worker that could not write it."""
    path = job.resumed if started is None else started.path
    if path is None:
        directory = RunDirectory.claim(Path(job.parent), new_record(plain(job.config), job.overrides, job.attempt))
        with contextlib.suppress(OSError):
            (directory.path / "run.log").write_bytes(Path(job.log).read_bytes())
    else:
        directory = RunDirectory.take_over(Path(path))
        for leftover in directory.path.glob(".*"):  # files that were being written, by us or by a library
            if leftover.is_file() and leftover.name != LOCK:
                leftover.unlink(missing_ok=True)
    directory.finish(status, reason)
    return Finished(str(directory.path), directory.record, code)
