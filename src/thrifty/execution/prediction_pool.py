"""The parent's side of processes that predict together: hands out batches, keeps their order, and loses none when a process dies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thrifty.errors import BadConfiguration, BadData, OutOfMemory, ThriftyError, Unsupported
from thrifty.execution import affinity, fork_server
from thrifty.execution.cores import freest_cores
from thrifty.execution.death import cause_of_death, kernel_kills
from thrifty.execution.prediction_worker import Done, Failed, Given, PredictorSpec, Ready, Room, serve
from thrifty.execution.shared_slots import Slots
from thrifty.record import usable_cores

IN_FLIGHT = 2
"""Batches that a process has at once: one to predict, and the next, so that it need not wait for the parent."""
MOST_RESTARTS = 2
"""Processes begun anew in place of dead ones: what kills a third would kill a fourth."""
_ERRORS = {one.exit_code: one for one in (BadConfiguration, Unsupported, BadData, OutOfMemory)}


@dataclass(frozen=True)
class _Batch:
    number: int
    first: int
    """Number of its first example."""
    full: int
    inputs: np.ndarray


class _Worker:
    """One process, and the batches it has."""

    def __init__(self, place: int, spec: PredictorSpec, cores: tuple[int, ...] | None, context: Any) -> None:
        self.place, self.ready, self.given = place, False, 0
        self.batches: dict[int, _Batch] = {}
        """By slot."""
        self._slots: Slots | None = None
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self._rooms, their_rooms = context.Pipe()  # of its own, as some systems answer in it
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, their_rooms, spec, cores), daemon=False)
        with theirs, their_rooms:
            try:
                fork_server.start(self.process)
            except (EOFError, ConnectionError) as error:
                raise OutOfMemory(
                    "no process could be started, as a rule for want of memory; give fewer --processes"
                ) from error

    @property
    def has_room(self) -> bool:
        """Whether it may be given one more batch."""
        return self.ready and len(self.batches) < IN_FLIGHT

    def give(self, batch: _Batch) -> None:
        """Let it predict one more.

        Raises:
            OutOfMemory: no memory to pass the batch through.
        """
        slot = next(one for one in range(IN_FLIGHT) if one not in self.batches)
        self.batches[slot] = batch
        self.given += 1
        if self._slots is None or self._slots.slot_bytes < batch.inputs.nbytes:
            try:
                # It may have a batch in the old ones: it reads our words in order, and lets go of them only when that one is done.
                self._slots = slots = Slots(IN_FLIGHT, batch.inputs.nbytes)
            except OSError as error:
                size = f"{IN_FLIGHT * batch.inputs.nbytes / 2**20:.0f} MiB"
                raise OutOfMemory(
                    f"no {size} to pass batches through ({error.strerror}); give a smaller --batch-size"
                ) from error
            self._say(Room(slots.bytes))
            with contextlib.suppress(OSError, RuntimeError):
                slots.give(self._rooms, self.process.pid or 0)
        slots = self._slots
        slots.put(slot, batch.inputs)
        self._say(Given(batch.number, slot * slots.slot_bytes, batch.inputs.shape, batch.inputs.dtype.str, batch.full))

    def end(self, patience: float) -> None:
        """End it; waits until it is gone."""
        self._say(None)
        self.connection.close()
        self._rooms.close()
        fork_server.end(self.process, patience)

    def _say(self, word: Room | Given | None) -> None:
        with contextlib.suppress(OSError):  # it is gone, as we hear next, and its batches are another's then
            self.connection.send(word)


class PredictionPool:
    """Processes that hold the same model; ended, with whatever they started, when the `with` block is left.

    Args:
        one_first: let one process predict a batch before the others get any, as it leaves on disk what they need not make again.
        preload: what the fork server is to hold beside torch.
    """

    def __init__(self, spec: PredictorSpec, processes: int, one_first: bool = False, preload: Sequence[str] = ()) -> None:
        self.spec, self.processes, self.one_first, self.preload = spec, processes, one_first, preload
        self._workers: list[_Worker] = []
        self._again: deque[_Batch] = deque()
        """Batches of processes that died."""
        self._restarts_left = MOST_RESTARTS
        self._numbers = 0
        self._kills = kernel_kills()
        usable, needed = affinity.cores(), processes * spec.threads
        self._cores = usable if usable is not None and needed == len(usable) else freest_cores(needed)

    def __enter__(self) -> PredictionPool:
        try:
            self._begin()
        except BaseException:
            self._end(patience=0.0)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end(patience=2.0 if kind is None else 0.0)

    @property
    def pids(self) -> list[int]:
        """Of the processes there are now."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def wait_until_ready(self) -> None:
        """Wait until every process has loaded the model.

        Raises:
            as `map` does.
        """
        self._grow(self.processes)
        while not all(worker.ready for worker in self._workers):
            self._hear(wait_for_it=True)

    def renew(self) -> None:
        """End all processes and begin as many fresh ones."""
        self._end(patience=0.0)
        self._again.clear()
        self._begin()

    def map(self, batches: Iterable[Tensor], restarts: bool = True, count: int | None = None) -> Iterator[Tensor]:
        """Outputs of batches, float32, in the order of the batches; these are taken as processes get free for them.

        A process that dies loses none: another one, or a fresh one in its place, predicts what it had.

        Args:
            restarts: whether to begin processes anew; else the first that dies is the end.
            count: of the batches, where it is known: no process is begun that would get none.

        Raises:
            OutOfMemory: a process died too many; says which, of what and at which examples.
            ThriftyError: the model cannot be loaded, or the engine cannot take it: of the kind that the process met.
        """
        self._grow(self.processes if count is None else min(self.processes, count))
        source = _numbered(batches, self._numbers)
        due = self._numbers
        found: dict[int, Tensor] = {}
        while True:
            more = self._hand_out(source)
            found |= self._hear(wait_for_it=due not in found, restarts=restarts) if more or self._under_way() else {}
            if due in found:
                yield found.pop(due)
                due += 1
            elif not more and not self._under_way():
                return

    def _begin(self) -> None:
        self._workers = []
        fork_server.warm_up(fork_server.ARMS, self.preload)
        self._grow(min(self.processes, usable_cores()))  # the others wait until it is known whether there is work for them

    def _grow(self, processes: int) -> None:
        for place in range(len(self._workers), processes):
            self._workers.append(self._start(place))

    def _start(self, place: int) -> _Worker:
        threads = self.spec.threads
        cores = None if self._cores is None else tuple(self._cores[place * threads : (place + 1) * threads])
        return _Worker(place, self.spec, cores, fork_server.context(fork_server.ARMS, self.preload))

    def _end(self, patience: float) -> None:
        for worker in self._workers:
            worker.end(patience)
        self._workers = []

    def _under_way(self) -> bool:
        return bool(self._again) or any(worker.batches for worker in self._workers)

    def _hand_out(self, source: Iterator[_Batch]) -> bool:
        """Give batches to processes while one has room; False once there are no more."""
        while (worker := self._next_worker()) is not None:
            batch = self._again.popleft() if self._again else next(source, None)
            if batch is None:
                return False
            self._numbers = max(self._numbers, batch.number + 1)
            worker.give(batch)
        return True

    def _next_worker(self) -> _Worker | None:
        """Of those with room the one with the least to do, and the least done."""
        free = [worker for worker in self._workers if worker.has_room]
        if self.one_first:  # nothing is predicted yet
            free = [worker for worker in free if worker.place == 0 and not worker.batches]
        return min(free, key=lambda worker: (len(worker.batches), worker.given), default=None)

    def _hear(self, wait_for_it: bool, restarts: bool = True) -> dict[int, Tensor]:
        """What processes have predicted, by the batch's number; blocks until one has something to say, if it is to be waited for."""
        sources = {one: worker for worker in self._workers for one in (worker.connection, worker.process.sentinel)}
        heard = wait(list(sources), timeout=None if wait_for_it else 0)
        found: dict[int, Tensor] = {}
        for worker in {sources[one] for one in heard}:  # pyright: ignore[reportArgumentType]
            try:
                said = worker.connection.recv() if worker.connection.poll() else None
                outputs = np.empty(said.shape, np.float32) if isinstance(said, Done) else None
                if outputs is not None:
                    worker.connection.recv_bytes_into(outputs.data.cast("B"))
            except (EOFError, OSError):
                said = outputs = None
            if said is None:
                self._lost(worker, None, restarts)
            elif isinstance(said, Ready):
                worker.ready = True
            elif isinstance(said, Failed):
                self._failed(worker, said, restarts)
            elif outputs is not None:
                worker.batches = {slot: one for slot, one in worker.batches.items() if one.number != said.number}
                self.one_first = False
                found[said.number] = torch.from_numpy(outputs)
        return found

    def _failed(self, worker: _Worker, said: Failed, restarts: bool) -> None:
        if os.environ.get("THRIFTY_DEBUG") == "1":
            sys.stderr.write(said.details)
        if said.memory:
            self._lost(worker, f"{self._name(worker)} ran out of memory ({said.reason})", restarts)
        elif said.exit_code is not None:
            raise _ERRORS.get(said.exit_code, ThriftyError)(said.reason)
        else:
            raise ThriftyError(f"{self._name(worker)}: {said.reason}{_where(worker)}; THRIFTY_DEBUG=1 shows where")

    def _lost(self, worker: _Worker, why: str | None, restarts: bool) -> None:
        """Begin a fresh process in the place of one that is gone; its batches are the next that are handed out."""
        fork_server.end(worker.process)
        if why is None:
            why = cause_of_death(worker.process.exitcode or 0, kernel_kills() > self._kills, self._name(worker))[1]
        if not restarts or self._restarts_left == 0:
            others = f", after {MOST_RESTARTS} others that were begun anew" if restarts else ""
            raise OutOfMemory(f"{why}{_where(worker)}{others}; give a smaller --batch-size or fewer --processes")
        self._restarts_left -= 1
        self._again = deque(sorted([*worker.batches.values(), *self._again], key=lambda batch: batch.number))
        worker.end(patience=0.0)
        self._workers[worker.place] = self._start(worker.place)

    def _name(self, worker: _Worker) -> str:
        return f"prediction process {worker.place + 1} of {self.processes}"


def _numbered(batches: Iterable[Tensor], number: int) -> Iterator[_Batch]:
    first = full = 0
    for inputs in batches:
        full = full or len(inputs)
        yield _Batch(number, first, full, inputs.numpy())
        number, first = number + 1, first + len(inputs)


def _where(worker: _Worker) -> str:
    """At which examples it was."""
    if not worker.batches:
        return " while it loaded the model" if not worker.ready else ""
    batch = min(worker.batches.values(), key=lambda one: one.number)
    return f" at examples {batch.first + 1} to {batch.first + len(batch.inputs)}"
