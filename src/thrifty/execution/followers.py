"""The ranks that follow: started with the one that leads, ended with it, their deaths told. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from thrifty.errors import OutOfMemory
from thrifty.events import Refused
from thrifty.execution import fork_server
from thrifty.execution.death import cause_of_death, kernel_kills
from thrifty.execution.ranks import Rank

if TYPE_CHECKING:
    from thrifty.execution.worker import Job

GRACE_SECONDS = 5.0
"""What the rank that leads has, once another has failed, to notice and to say what it has to say."""


@dataclass(frozen=True)
class Failure:
    """How a rank that follows failed."""

    status: str
    reason: str
    exit_code: int


class Followers:
    """The processes of some ranks, all gone when the `with` block is left.

    Args:
        context: of the fork server.
        job: the run's; each rank gets its own of it.
    """

    def __init__(self, context: Any, job: Job, ranks: list[Rank]) -> None:
        self._kills_before = kernel_kills()
        self._context, self._job, self._ranks = context, job, ranks
        self._started: list[tuple[Rank, BaseProcess, Connection, Path]] = []
        self._meeting = Path(ranks[0].meeting.removeprefix("file://")).parent if ranks and ranks[0].meeting else None

    def __enter__(self) -> Followers:
        if self._meeting is not None:
            self._meeting.mkdir(mode=0o700)
        return self

    def start(self) -> None:
        """Start them, once the one that leads has passed every gate; it waits for them before it trains."""
        from thrifty.execution.worker import work

        for rank in self._ranks:
            descriptor, log = tempfile.mkstemp(prefix="thrifty-", suffix=".log")
            os.close(descriptor)
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=work, args=(theirs, replace(self._job, rank=rank, log=log)))
            self._started.append((rank, process, ours, Path(log)))
            with theirs:
                fork_server.start(process)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for _, process, connection, log in self._started:
            connection.close()
            if process.pid is not None:
                with contextlib.suppress(OSError):
                    process.kill()
                process.join()
            log.unlink(missing_ok=True)
        if self._meeting is not None:
            shutil.rmtree(self._meeting, ignore_errors=True)

    @property
    def running(self) -> list[int]:
        """What to wait for: one is ready when its rank has ended."""
        return [process.sentinel for process in self.processes if process.exitcode is None]

    @property
    def processes(self) -> list[BaseProcess]:
        """Those that were started."""
        return [process for _, process, _, _ in self._started]

    @property
    def failed(self) -> bool:
        """Whether one has ended otherwise than by the end of the training."""
        return any(process.exitcode for process in self.processes)

    def wait(self) -> None:
        """Until all have ended."""
        for process in self.processes:
            process.join()

    def failure(self) -> Failure | None:
        """Of the first that has failed; None as long as none has."""
        for rank, process, connection, _ in self._started:
            if process.exitcode:
                return self._failure(rank, process.exitcode, connection)
        return None

    def _failure(self, rank: Rank, exit_code: int, connection: Connection) -> Failure:
        who = f"rank {rank.number} of {rank.of}"
        said = None
        with contextlib.suppress(EOFError, OSError):
            said = connection.recv() if connection.poll() else None
        if isinstance(said, Refused):
            status = "oom" if said.exit_code == OutOfMemory.exit_code else "error"
            return Failure(status, f"{who}: {said.message}", said.exit_code)
        status, reason = cause_of_death(exit_code, kernel_kills() > self._kills_before, who)
        return Failure(status, reason, OutOfMemory.exit_code)

    def keep_logs(self, directory: Path) -> None:
        """What they have printed, beside the run's own log."""
        for rank, _, _, log in self._started:
            with contextlib.suppress(OSError):
                if text := log.read_bytes():
                    (directory / f"run.rank{rank.number}.log").write_bytes(text)
