"""The cluster's side of a job: runs one experiment, saves on a signal, and has the job queued again after a preemption."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict

from thrifty.config.compose import plain
from thrifty.errors import ThriftyError
from thrifty.events import Event, Told
from thrifty.execution.launch import Outcome
from thrifty.record import config_hash
from thrifty.stop import EXIT_CODES, REASONS, STOPPED, Stopped
from thrifty.store import RunDirectory, read_record
from thrifty.sweeps.into import agreed, standing
from thrifty.sweeps.job import SweepJob, run_job
from thrifty.sweeps.runs import is_finished, outcome_of

STORAGE = "THRIFTY_STORAGE"
"""Environment variable with the address of a search's storage: its password must not stand in the file that a job is read from."""
TIME_LIMIT_CODE = 5
"""Exit code of a run that a time limit ended: a process that was killed, as trying once more would end the same way."""
_LOCK_SECONDS = 5.0
_EARLY_SECONDS = 90.0
"""By so much SLURM may give the signal of a time limit too early: it looks every 30 s, and rounds to minutes."""


class Result(TypedDict):
    """How a job ended, as it is brought back."""

    exit_code: int
    path: str | None
    message: str | None
    attempt: int | None
    """How often the job had been queued again; None where it did not get so far."""


@dataclass(frozen=True)
class SlurmJob:
    """What submitit calls in the job.

    Args:
        timeout_min: of the job, in minutes.
        signal_delay_s: see `sweep.slurm`.
    """

    job: SweepJob
    timeout_min: int
    signal_delay_s: int

    def __call__(self) -> Result:
        """Run it, or go on with what an earlier attempt of this job, or of another, has left in the sweep's directory."""
        began = time.monotonic()
        requeue = signal.getsignal(signal.SIGUSR2)
        directory = Path(self.job.directory)
        with _signals_noted() as noted:
            try:
                outcome = self._run(directory)
            except (Stopped, SystemExit):
                outcome = Outcome(EXIT_CODES["terminated"], None, None, "stopped before training began")
            except ThriftyError as error:
                outcome = Outcome(error.exit_code, None, None, str(error))
            signals = noted()
            if signals and outcome.record is None:  # as it may look where the signal has ended a process of its own, too
                outcome = Outcome(EXIT_CODES["terminated"], outcome.path, None, outcome.message)
            if signal.SIGUSR2 in signals and outcome.exit_code in STOPPED and os.environ.get("SLURM_PROCID", "0") == "0":
                if time.monotonic() - began + self.signal_delay_s + _EARLY_SECONDS < self.timeout_min * 60:
                    _queue_again()
                else:
                    outcome = self._time_limit(outcome, requeue)
        path = None if outcome.path is None else str(outcome.path)
        attempt = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        return Result(exit_code=outcome.exit_code, path=path, message=outcome.message, attempt=attempt)

    def checkpoint(self) -> Any:
        """What submitit queues again: the same, as all there is to go on with lies in the sweep's directory."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self, directory: Path) -> Outcome:
        wanted = config_hash(plain(self.job.config))

        def decide() -> Path | None:
            # SLURM starts a job anew only when it has given up the former one, which may go on all the same: on a node that lost its
            # network. Such an orphan holds its run's lock, or its record says `running` on a machine whose locks we cannot see. So
            # we wait a little for a process that is just ending, and then leave it what it has: its directory and its record are its
            # own, and we begin in another. What it has let go of is ours by the token in the record, which it would miss.
            found = standing(directory, wanted, _LOCK_SECONDS)
            return found.finished or found.cut_off if found.busy is None else None

        taken = agreed(directory, decide)
        if taken is not None and is_finished(record := read_record(taken)):
            return outcome_of(taken, record)
        resumed = None if taken is None else str(taken)
        stopping, storage = self.job.stopping, os.environ.get(STORAGE)
        if stopping is not None and storage is not None:
            stopping = replace(stopping, storage=storage)
        return run_job(replace(self.job, resumed=resumed, stopping=stopping), _Log())

    def _time_limit(self, outcome: Outcome, requeue: Any) -> Outcome:
        """Let submitit queue the job again as often as max_num_timeout says; returns where that is used up."""
        from submitit.core.utils import UncompletedJobError

        with contextlib.suppress(UncompletedJobError):
            requeue(signal.SIGUSR2, None)  # ends the process
        reason = time_limit_reason(self.timeout_min)
        if outcome.path is not None:
            directory = RunDirectory.take_over(outcome.path)
            directory.finish("preempted", reason)
            return Outcome(TIME_LIMIT_CODE, outcome.path, directory.record, reason)
        return Outcome(TIME_LIMIT_CODE, None, None, reason)


def time_limit_reason(timeout_min: int) -> str:
    """What a record says of a run that a time limit ended."""
    return (
        f"SLURM's time limit of {timeout_min} min was reached; it goes on by sweep.resume, with a longer sweep.slurm.timeout_min, "
        "or by itself with sweep.slurm.max_num_timeout"
    )


@contextlib.contextmanager
def _signals_noted() -> Iterator[Any]:
    """End what is under way at a signal, unless a run that handles it itself is; gives what came, whoever handled it."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)  # hears of signals whatever their handler
    came: list[int] = []

    def noted() -> list[int]:
        with contextlib.suppress(BlockingIOError):
            came.extend(one for one in reader.recv(4096) if one in REASONS)
        return came

    def leave(number: int, frame: FrameType | None) -> None:
        raise Stopped(REASONS[signal.Signals(number)])

    before = {one: signal.signal(one, leave) for one in REASONS}
    try:
        yield noted
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        signal.set_wakeup_fd(wakeup)
        reader.close()
        writer.close()


def _queue_again() -> None:
    """Have SLURM queue this job again and leave; returns where it will not, and the sweep submits another."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    name = os.environ["SLURM_JOB_ID"] if array is None else f"{array}_{task}"
    # Not by submitit's handler, which takes every preemption of a job of ten minutes or less for its time limit.
    for one in REASONS:
        signal.signal(one, signal.SIG_IGN)  # of which the queue sends more
    if subprocess.run(["scontrol", "requeue", name]).returncode == 0:
        sys.exit(EXIT_CODES["terminated"])


class _Log:
    """A sink that writes into the job's log what is meant to stay."""

    def handle(self, event: Event) -> None:
        """A line."""
        if isinstance(event, Told):
            print(event.sentence, flush=True)

    def close(self) -> None:
        """Nothing to do."""
