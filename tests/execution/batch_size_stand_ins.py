"""What processes of tests/execution/test_batch_size.py do instead of training."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import Connection

from thrifty.config.schema import Config
from thrifty.execution.batch_size import Tried


def killed_at_eight(connection: Connection, config: Config, given: list[str], sizes: list[int] | None) -> None:
    """Twice the batch is twice as fast, until the system ends the process."""
    for size in sizes or (1, 2, 4, 8, 16):
        if size == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        connection.send(Tried(size, 100.0 * size))
        if not connection.recv():
            return
    connection.send(None)


def four_only_among_others(connection: Connection, config: Config, given: list[str], sizes: list[int] | None) -> None:
    """Four fits where two were before it; alone, it does not."""
    for size in sizes or (1, 2, 4):
        connection.send(Tried(size, None, "does not fit into memory") if sizes == [4] else Tried(size, 100.0 * size))
        if not connection.recv():
            return
    connection.send(None)


def nothing_fits(connection: Connection, config: Config, given: list[str], sizes: list[int] | None) -> None:
    """Not even a single example."""
    connection.send(Tried(1, None, "does not fit into memory"))


def silent(connection: Connection, config: Config, given: list[str], sizes: list[int] | None) -> None:
    """Two sizes, then nothing; what was chosen is tried at once."""
    for size in sizes or (1, 2):
        connection.send(Tried(size, 100.0 * size))
        if not connection.recv():
            return
    if sizes is None:
        time.sleep(60)
    connection.send(None)
