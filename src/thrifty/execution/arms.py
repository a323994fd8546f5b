"""The parent's side of arms: processes that live side by side, of which one works at a time, at the parent's word."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from thrifty.execution import affinity, fork_server
from thrifty.execution.arm_worker import ArmSpec, Block, Failed, Ready, Turns, serve
from thrifty.execution.death import cause_of_death, kernel_kills

LONGEST_SILENCE = 600.0
"""Seconds an arm may take for a block before it is ended."""


_LED_IN = 0.1
"""Seconds of a call that is so long that it does not matter who has had the caches before."""


def led_in(call_s: float) -> int:
    """Untimed calls before a block where several others have had the caches, by what a call takes."""
    return int(call_s < _LED_IN)


class ArmFailed(Exception):
    """An arm that cannot go on: it said so, or died."""

    def __init__(self, status: str, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.status, self.reason, self.details = status, reason, details


def link(preload: str = fork_server.ARMS) -> tuple[Connection, Connection]:
    """The ends of what two arms pass their turns over; each is closed here once its arm has it."""
    return fork_server.context(preload).Pipe()


class Arm:
    """One arm's process. Ended, with whatever it started, when the `with` block is left."""

    def __init__(
        self,
        spec: ArmSpec,
        preload: str = fork_server.ARMS,
        patience: float = LONGEST_SILENCE,
        other: Connection | None = None,
    ) -> None:
        self.spec, self.patience = spec, patience
        self._kills_before = kernel_kills()
        fork_server.warm_up(preload)
        context = fork_server.context(preload)
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        given = replace(spec, building=spec.building or tuple(affinity.cores() or ()) or None)
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, given, other), daemon=False)
        with theirs, other or contextlib.nullcontext(), fork_server.told_by_itself():
            try:
                fork_server.start(self.process)
            except (EOFError, ConnectionError) as error:
                raise ArmFailed("oom", "no process could be started, as a rule for want of memory") from error

    def __enter__(self) -> Arm:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def ready(self) -> Ready:
        """Wait until it has built its workload and warmed up.

        Raises:
            ArmFailed: it could not.
        """
        found = self._heard()
        assert isinstance(found, Ready)
        return found

    def work(self, calls: int, lead_in: int = 0) -> Block:
        """Let it do a block of `calls` calls while we wait, after `lead_in` untimed ones at least.

        Raises:
            ArmFailed: it could not.
        """
        self.begin(Turns(calls, lead_in=lead_in))
        return self.blocks()[0]

    def begin(self, turns: Turns) -> None:
        """Let it take turns with the arm that it is linked to."""
        self._say(turns)

    def blocks(self, seconds: float = 0.0) -> list[Block]:
        """Wait for the blocks of its turns, which take about `seconds`; fewer than there should be, where the other arm is gone.

        Raises:
            ArmFailed: it could not.
        """
        found = self._heard(seconds)
        assert isinstance(found, list)
        return found

    def end(self) -> None:
        """End the process, and what it has started; waits until it is gone."""
        self._say(None)
        self.connection.close()
        fork_server.end(self.process)

    def _say(self, word: Turns | None) -> None:
        with contextlib.suppress(OSError):  # it is gone, as we hear next
            self.connection.send(word)

    def _heard(self, seconds: float = 0.0) -> Any:
        heard = wait([self.connection, self.process.sentinel], timeout=self.patience + seconds)
        if not heard:
            self.process.kill()
            raise ArmFailed("killed", f"it gave no sign of life for {self.patience:.0f} s and was ended")
        try:
            said = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            said = None
        if said is None:
            self.process.join()
            raise ArmFailed(*cause_of_death(self.process.exitcode or 0, kernel_kills() > self._kills_before, "the process"))
        if isinstance(said, Failed):
            raise ArmFailed(said.status, said.reason, said.details)
        return said
