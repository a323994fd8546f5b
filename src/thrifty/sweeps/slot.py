"""A process that runs the experiments it is given, one after the other, on the share of the machine that is its own."""

from __future__ import annotations

import contextlib
import io
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from thrifty.errors import ThriftyError
from thrifty.events import Event, Told
from thrifty.execution import fork_server
from thrifty.execution.affinity import hold_process
from thrifty.execution.death import end_with_parent
from thrifty.execution.launch import Outcome
from thrifty.execution.turns import PLACE
from thrifty.stop import EXIT_CODES, REASONS

if TYPE_CHECKING:
    from thrifty.sweeps.job import SweepJob

_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Share:
    """What of the machine is a slot's own."""

    cores: tuple[int, ...] | None = None
    """None is all that the command line may use."""
    gpus: tuple[str, ...] | None = None
    """By what CUDA calls them; None is all."""
    turns: Path | None = None
    """Directory of the locks by which slots measure in turn; None where there is one slot."""


def serve(connection: Connection, share: Share, imports: Sequence[str]) -> None:
    """Run every job that comes through the connection, until it is closed; tells of each what happens, and its outcome.

    Args:
        imports: modules that the workers need, made once for all of them.
    """
    end_with_parent()
    os.setsid()  # Ctrl-C is the sweep's, which says to each slot what to do
    for one in REASONS:
        signal.signal(one, _leave)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, REASONS)
    hold_process(share.cores)
    if share.gpus is not None:
        os.environ[_GPUS] = ",".join(share.gpus)
    if share.turns is not None:
        os.environ[PLACE] = str(share.turns)
    fork_server.warm_up(before=imports)
    from thrifty.sweeps.job import run_job  # while the fork server makes its imports

    while True:
        try:
            job: SweepJob = connection.recv()
        except (EOFError, OSError):
            return
        show = _Forwarded(connection, job.key)
        with contextlib.redirect_stderr(_Sentences(show)):
            outcome = _outcome(job, show, run_job)
        with contextlib.suppress(OSError):
            connection.send((job.key, outcome))


def _outcome(job: SweepJob, show: _Forwarded, run: object) -> Outcome:
    assert callable(run)
    try:
        found = run(job, show)
    except KeyboardInterrupt:
        return Outcome(EXIT_CODES["interrupted"], None, None, "interrupted between two of its parts")
    except ThriftyError as error:
        return Outcome(error.exit_code, None, None, str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours costs one experiment, and is told
        return Outcome(1, None, None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    assert isinstance(found, Outcome)
    return found


def _leave(number: int, frame: object) -> None:
    """Asked to stop where no worker is: the slot ends, and with it what it has begun."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_CODES[REASONS[signal.Signals(number)]])


class _Forwarded:
    """A sink at the other end of the connection."""

    def __init__(self, connection: Connection, key: int) -> None:
        self.connection, self.key = connection, key

    def handle(self, event: Event) -> None:
        """Send it on."""
        with contextlib.suppress(OSError):  # nobody listens any more: the worker's end comes by a signal
            self.connection.send((self.key, event))

    def close(self) -> None:
        """Nothing to do."""


class _Sentences(io.TextIOBase):
    """What is written to stderr, told line by line, so that it does not tear the picture that the sweep draws."""

    def __init__(self, show: _Forwarded) -> None:
        self.show, self._begun = show, ""

    def write(self, text: str, /) -> int:
        """Tell every line that is whole."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line:
                self.show.handle(Told(line))
        return len(text)
