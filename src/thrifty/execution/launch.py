"""The parent's side of a run: start a worker, pass its events on, turn its death into a record. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import OutOfMemory
from thrifty.events import HEARD, Event, Finished, Refused, Started, Validated
from thrifty.execution import fork_server
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.execution.death import cause_of_death, kernel_kills
from thrifty.execution.followers import GRACE_SECONDS, Followers
from thrifty.execution.ranks import Rank
from thrifty.execution.stopper import Stopper
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
    killed: bool = False
    """Whether something else than want of memory is known to have ended the process."""


def launch(
    config: Config,
    overrides: list[str],
    parent: Path,
    handle: Callable[[Event], None],
    beginning: Beginning = FROM_NOTHING,
    ranks: Sequence[Rank] = (Rank(),),
    stopper: Stopper | None = None,
) -> Outcome:
    """Run one experiment in a worker of its own, or in one for each rank; blocks until it has ended.

    Args:
        config: what `overrides` compose to.
        parent: directory the run's own is made in.
        handle: receives every event of the run, in order.
        ranks: those to start here. Where the one that leads is not among them, nothing is heard and nothing written.
        stopper: asked at each validation whether to go on; None lets it end by itself.
    """
    from thrifty.execution.worker import Job, work

    descriptor, log = tempfile.mkstemp(prefix="thrifty-", suffix=".log")
    os.close(descriptor)
    job = Job(
        config,
        overrides,
        str(parent),
        log,
        secrets.token_hex(8),
        beginning,
        ranks[0],
        None if stopper is None else stopper.known_before,
    )
    kills_before = kernel_kills()
    context = fork_server.context()
    if not ranks[0].leads:
        Path(log).unlink(missing_ok=True)
        return _follow(Followers(context, job, list(ranks)))
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(target=work, args=(theirs, job))
    try:
        # The forwarding lasts until the record is written, whoever writes it.
        with ours, _forwarding(process), Followers(context, job, list(ranks[1:])) as followers:
            with theirs:
                refused = _start(process)
            last, started = (refused, None) if refused else _listen(ours, process, handle, followers, stopper)
            if isinstance(last, Finished):
                return Outcome(last.exit_code, Path(last.path), last.record, None)
            if isinstance(last, Refused) and followers.running:
                wait(followers.running, timeout=1)  # it may have noticed the end of another before we did
            if (failure := followers.failure()) is not None and started is not None:
                code, status, reason = failure.exit_code, failure.status, failure.reason
                followers.keep_logs(Path(started.path))
            elif isinstance(last, Refused):
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


def _follow(followers: Followers) -> Outcome:
    """A rank whose leader has another command line, which tells and writes what there is."""
    with followers:
        followers.start()
        with _forwarding(followers.processes[0], tell=False):
            followers.wait()
        failure = followers.failure()
    return Outcome(0, None, None, None) if failure is None else Outcome(failure.exit_code, None, None, failure.reason)


def _start(process: BaseProcess) -> Refused | None:
    """Start the worker, which waits for the fork server's imports; returns why there is none."""
    fork_server.warm_up()
    try:
        fork_server.start(process)
    except (EOFError, ConnectionError):
        return Refused(
            "no worker could be started: its imports failed, as a rule for want of memory; give it more, or run less beside it",
            OutOfMemory.exit_code,
        )
    return None


def _listen(
    connection: Connection,
    process: BaseProcess,
    handle: Callable[[Event], None],
    followers: Followers,
    stopper: Stopper | None,
) -> tuple[Event | None, Started | None]:
    """Pass events on until the worker is gone; returns its last word on the run and the word of its start.

    Where another rank has failed the worker has a little time to notice, and is ended then.
    """
    last: Event | None = None
    started: Started | None = None
    patience: float | None = None
    while True:
        ready = wait([connection, process.sentinel, *followers.running], timeout=patience)
        if connection in ready:
            try:
                event = connection.recv()
            except (EOFError, OSError):
                process.join()
                return last, started
            if isinstance(event, Validated):
                verdict = None if stopper is None else stopper.verdict(event)
                with contextlib.suppress(OSError):
                    connection.send(verdict)
                continue
            if isinstance(event, Started):  # every gate is passed: no process is made for what will be refused
                started = event
                followers.start()
            if isinstance(event, (Finished, Refused)):
                last = event
            handle(event)
            if isinstance(event, Started):
                with contextlib.suppress(OSError):
                    connection.send(HEARD)
        elif process.sentinel in ready:
            if not connection.poll():
                process.join()
                return last, started
        elif not ready:
            process.kill()
        if patience is None and followers.failed:
            patience = GRACE_SECONDS


@contextlib.contextmanager
def _forwarding(process: BaseProcess, tell: bool = True) -> Iterator[None]:
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
        if received == 1 and tell:
            sys.stderr.write("\nstopping at the next step; the weights will be kept (twice more kills)\n")

    before = {one: signal.signal(one, forward) for one in REASONS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _bury(status: str, reason: str, code: int, started: Started | None, job: Job) -> Finished:
    """The record of a worker that could not write it."""
    path = job.beginning.resumed if started is None else Path(started.path)
    if path is None:
        directory = RunDirectory.claim(Path(job.parent), new_record(plain(job.config), job.overrides, job.attempt))
        with contextlib.suppress(OSError):
            (directory.path / "run.log").write_bytes(Path(job.log).read_bytes())
    else:
        directory = RunDirectory.take_over(path)
        for leftover in directory.path.glob(".*"):  # files that were being written, by us or by a library
            if leftover.is_file() and leftover.name != LOCK:
                leftover.unlink(missing_ok=True)
    directory.finish(status, reason)
    return Finished(str(directory.path), directory.record, code)
