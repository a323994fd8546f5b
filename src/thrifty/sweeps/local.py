"""Jobs in processes of this machine: as many slots as asked for, each with cores, or GPUs, of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from thrifty.errors import BadConfiguration
from thrifty.events import Event, Started
from thrifty.execution import fork_server
from thrifty.execution.affinity import cores
from thrifty.execution.death import cause_of_death, kernel_kills
from thrifty.execution.gpus import visible_gpus
from thrifty.execution.launch import Outcome
from thrifty.record import usable_cores
from thrifty.stop import EXIT_CODES, REASONS
from thrifty.store import read_record
from thrifty.sweeps.executor import Happened
from thrifty.sweeps.job import SweepJob
from thrifty.sweeps.slot import Share, serve

_LAST_WORD_SECONDS = 20.0


@dataclass
class _Slot:
    """A process, and what it is at."""

    share: Share
    process: BaseProcess | None = None
    connection: Connection | None = None
    job: SweepJob | None = None
    run: Path | None = None
    """Directory of the job's run, once it has one."""


class LocalSlots:
    """Runs jobs on this machine; a slot is started with its first job, and again where it died.

    Args:
        shares: one of each slot.
        imports: see `serve`.
    """

    def __init__(self, shares: Sequence[Share], imports: Sequence[str]) -> None:
        self._slots = [_Slot(one) for one in shares]
        self._imports = list(imports)
        self._kills = kernel_kills()
        self._stopped_by: int | None = None

    @property
    def cores(self) -> int:
        """Of each slot: the same for all."""
        mine = self._slots[0].share.cores
        return usable_cores() if mine is None else len(mine)

    def room(self) -> int:
        """Slots with nothing to do."""
        return sum(one.job is None for one in self._slots)

    def start(self, jobs: Sequence[SweepJob]) -> None:
        """Give each to a slot that has nothing to do."""
        for job in jobs:
            slot = next(one for one in self._slots if one.job is None)
            if slot.process is None:
                self._begin(slot)
            assert slot.connection is not None
            slot.job, slot.run = job, None
            with contextlib.suppress(OSError):  # it has died meanwhile: `wait` finds that out
                slot.connection.send(job)
        if jobs and self._stopped_by is not None:  # it came while they were being started
            self._signal(self._stopped_by)

    def wait(self) -> list[Happened]:
        """What has happened; blocks until something has."""
        busy = {one.connection: one for one in self._slots if one.connection is not None and one.job is not None}
        happened: list[Happened] = []
        for ready in wait(list(busy)):
            assert isinstance(ready, Connection)
            happened.append(self._heard(busy[ready]))
        return happened

    def stop(self, number: int) -> None:
        """Give a signal to every slot, which gives it to its worker."""
        self._stopped_by = number
        self._signal(number)

    def kill(self) -> None:
        """End every slot, and what it has started."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """End the slots; one at work is given a moment."""
        for slot in self._slots:
            if slot.connection is not None:
                slot.connection.close()
            if slot.process is not None:
                fork_server.end(slot.process, patience=5.0)
            slot.process = slot.connection = None

    def _begin(self, slot: _Slot) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, slot.share, self._imports))
        with fork_server.interrupts_held():
            process.start()
        theirs.close()
        slot.process, slot.connection = process, ours

    def _heard(self, slot: _Slot) -> Happened:
        assert slot.connection is not None
        assert slot.job is not None
        key = slot.job.key
        try:
            _, what = slot.connection.recv()
        except (EOFError, OSError):
            what = self._died(slot)
        if isinstance(what, Started):
            slot.run = Path(what.path)
        if isinstance(what, Outcome):
            slot.job = slot.run = None
        assert isinstance(what, (Event, Outcome))
        return key, what

    def _died(self, slot: _Slot) -> Outcome:
        """How a job ended whose slot is gone: as its record says, which its worker may have finished."""
        process, job = slot.process, slot.job
        assert process is not None
        assert job is not None
        if slot.connection is not None:
            slot.connection.close()
        process.join()
        run = slot.run or (None if job.resumed is None else Path(job.resumed))
        record = None if run is None else _last_word(run)
        fork_server.end(process, patience=5.0)  # whatever of it is left
        slot.process = slot.connection = None
        if self._stopped_by is not None:
            code = EXIT_CODES[REASONS[signal.Signals(self._stopped_by)]]
            return Outcome(code, run, record, "stopped")
        status, reason = cause_of_death(
            process.exitcode or 0, kernel_kills() > self._kills, "the process of this experiment", "run.log"
        )
        self._kills = kernel_kills()
        return Outcome(5, run, record, reason, killed=status != "oom")

    def _signal(self, number: int) -> None:
        for slot in self._slots:
            if slot.process is None or slot.process.pid is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if number == signal.SIGKILL:
                    os.killpg(slot.process.pid, number)  # a slot leads a group of its own, its fork server and workers in it
                else:
                    os.kill(slot.process.pid, number)


def _last_word(run: Path) -> dict[str, Any]:
    """The record of a run whose worker is on its own, and ends at its next step."""
    end = time.monotonic() + _LAST_WORD_SECONDS
    while (record := read_record(run))["status"] == "running" and time.monotonic() < end:
        time.sleep(0.05)
    return record


def shares(parallel: int, place: Path, device: str) -> list[Share]:
    """The machine, divided evenly among so many slots.

    Args:
        place: directory for the locks by which they take turns.
        device: as configured; processors alone are divided where it is `cpu`.

    Raises:
        BadConfiguration: there are fewer cores, or GPUs, than slots.
    """
    if parallel == 1:
        return [Share()]
    gpus = () if device == "cpu" else visible_gpus()
    if gpus and parallel > len(gpus):
        raise BadConfiguration(
            f"sweep.parallel={parallel}: each experiment gets a GPU of its own, and there are {len(gpus)}; give at most as many, or device=cpu"
        )
    usable = cores()
    if usable is not None and parallel > len(usable):
        raise BadConfiguration(
            f"sweep.parallel={parallel}: each experiment gets cores of its own, and there are {len(usable)}; give at most as many"
        )
    return [
        Share(
            None if usable is None else tuple(_part(usable, number, parallel)),
            tuple(_part(gpus, number, parallel)) if gpus else None,
            place,
        )
        for number in range(parallel)
    ]


def _part(whole: Sequence, number: int, of: int) -> Sequence:
    """Neighbours, of which as a rule those share a cache; as many for each, and what does not divide for nobody."""
    size = len(whole) // of
    return whole[number * size : (number + 1) * size]
