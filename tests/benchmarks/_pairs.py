"""Two arms measured against each other: processes that live side by side, of which the parent lets one work at a time.

An arm is a function of a module that takes `block_done` and keyword arguments, and calls `block_done()` after every block of
its work, forever. The pair of fresh processes is the unit of replication: see "How we measure" in the design.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from thrifty.execution import libraries
from thrifty.measure.statistics import Interval, mean_interval

Blocks = list[tuple[float, float]]
"""Seconds of each block of a pair, (first arm, second arm)."""


@dataclass(frozen=True)
class Arm:
    """What one process of a pair does."""

    work: Callable[..., None]
    """Called with `block_done`, `emit` (sends the parent anything that is not a time) and the options."""
    options: dict[str, Any]


class Turn:
    """An arm's side of the pipe: tells what a block took, and waits until it is this arm's turn again."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._begin = time.perf_counter()

    def block_done(self, seconds: float | None = None) -> None:
        """End a block and wait for the word to begin the next; it took as long as is told, else since that word."""
        self.connection.send(time.perf_counter() - self._begin if seconds is None else seconds)
        if not self.connection.recv():
            os._exit(0)  # library threads must not delay the end
        self._begin = time.perf_counter()


class Worker:
    """The parent's side of an arm."""

    def __init__(self, context: Any, arm: Arm) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, arm))
        self.process.start()
        theirs.close()

    def seconds(self) -> float:
        """Wait for the block under way to end; what the arm tells besides is read and dropped."""
        while True:
            said = self.connection.recv()
            if isinstance(said, float):
                return said

    def work(self) -> float:
        """Let the arm make a block; returns its seconds."""
        self.connection.send(True)
        return self.seconds()

    def end(self) -> None:
        """Ask the process to end, and wait for it."""
        try:
            self.connection.send(False)
        except OSError:  # it has ended by itself
            pass
        self.process.join()


def _serve(connection: Connection, arm: Arm) -> None:
    arm.work(Turn(connection).block_done, connection.send, **arm.options)


def fork_server() -> Any:
    """As the product starts its workers: torch and Lightning imported, native libraries told the same."""
    libraries.prepare()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["thrifty.execution.preload"])
    return context


def measure_pair(context: Any, arms: Sequence[Arm], warm_up: int, blocks: int, order: random.Random) -> Blocks:
    """One pair of fresh processes: each builds alone, makes its blocks of warm-up, then they take turns in random order."""
    workers: list[Worker] = []
    try:
        for arm in arms:
            workers.append(Worker(context, arm))
            workers[-1].seconds()
            for _ in range(warm_up - 1):
                workers[-1].work()
        taken = []
        for _ in range(blocks):
            seconds = [0.0, 0.0]
            for place in order.sample((0, 1), 2):
                seconds[place] = workers[place].work()
            taken.append((seconds[0], seconds[1]))
        return taken
    finally:
        for worker in workers:
            worker.end()


def ratio_of(pairs: Sequence[Blocks]) -> Interval:
    """First arm's time over the second's: the mean log ratio of each pair, t over the pairs."""
    logs = mean_interval(np.array([np.mean([math.log(first / second) for first, second in blocks]) for blocks in pairs]))
    low, high = (None if one is None else math.exp(one) for one in (logs.low, logs.high))
    return Interval(math.exp(logs.value), low, high, logs.n)


def verdict(ratio: Interval, most: float) -> str:
    """Whether a ratio keeps to a limit, and whether its interval leaves that open."""
    met = "met" if ratio.value <= most else "missed"
    certain = ratio.low is not None and ratio.high is not None and (ratio.high <= most or ratio.low > most)
    return met if certain else f"{met}, not certain"
