"""What models lost against a dense one on validation data, found by one process that reads the data once. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from thrifty.config.schema import Config
from thrifty.execution import fork_server
from thrifty.execution.death import cause_of_death, kernel_kills
from thrifty.measure.loss_bound import QualityLoss


@dataclass(frozen=True)
class Judged:
    """A model to judge: plain values only."""

    run: str
    """Its directory."""
    config_hash: str
    precision: dict[str, Any]
    """Values of the one that it predicts in."""
    engine: dict[str, Any] = field(default_factory=lambda: {"name": "eager"})
    threads: int = 1


class NotJudged(Exception):
    """Why there is no loss, with the status that a record would have."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


Serve = Callable[[Connection, Config, Judged], None]
"""What the process does: answers each `Judged` it is sent by a `QualityLoss`, or by (status, reason)."""


class Judge:
    """The process, started when first asked; ended when the `with` block is left.

    Args:
        config: whose task, architecture, device and number of examples are meant.
        dense: what others are held against.
    """

    def __init__(self, config: Config, dense: Judged, serve: Serve | None = None) -> None:
        self.config, self.dense, self._serve = config, dense, serve
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._kills_before = kernel_kills()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        """End the process; the next question starts another."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def loss(self, judged: Judged, patience: float) -> QualityLoss:
        """Points of the deciding metric that a model is worse.

        Args:
            patience: seconds after which it is given up.

        Raises:
            NotJudged: it could not be told.
        """
        try:
            if self._process is None:
                self._start()
            assert self._connection is not None
            self._connection.send(judged)
            if not wait([self._connection], timeout=max(1.0, patience)):
                self.end()
                raise NotJudged("not tried", "the time was spent before its quality was known")
            said: QualityLoss | tuple[str, str] = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            process = self._process
            code = 0
            if process is not None:
                process.join()
                code = process.exitcode or 0
            self.end()
            raise NotJudged(*cause_of_death(code, kernel_kills() > self._kills_before, "the process that judges it")) from error
        if isinstance(said, tuple):
            raise NotJudged(*said)
        return said

    def _start(self) -> None:
        if self._serve is None:
            from thrifty.methods.judging import serve

            self._serve = serve
        context = fork_server.context()
        self._connection, theirs = context.Pipe()
        process = context.Process(target=self._serve, args=(theirs, self.config, self.dense))
        with theirs:
            fork_server.start(process)
        self._process = process  # not before: who is stopped meanwhile has none to end, and it ends with the connection
