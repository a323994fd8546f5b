"""batch_size=auto: the fastest batch that fits, found in processes of its own before the run begins. Imports no torch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from thrifty.config.schema import Config
from thrifty.events import Event, Preparing
from thrifty.execution import fork_server
from thrifty.execution.death import cause_of_death, kernel_kills

AS_GOOD = 1.03
"""Rates that differ by less count as the same: of these the smallest batch is taken, which makes the most steps of an epoch."""
_SECONDS = 30.0
"""Once they are spent, no further size is begun, and one that is under way is given up."""
_PATIENCE = 600.0
"""Seconds until the first size must have been tried; reading the data is in it."""


@dataclass(frozen=True)
class Tried:
    """A batch size that was tried."""

    size: int
    examples_per_s: float | None
    """None where it does not fit, or could not be tried."""
    reason: str = ""
    """Why."""


@dataclass(frozen=True)
class BatchSize:
    """What a search found."""

    size: int | None
    """None where not even the smallest batch could be computed."""
    about: str
    """A sentence for the reader of the summary, or why there is none."""


Serve = Callable[[Connection, Config, list[str], "list[int] | None"], None]
"""What a process does: tries sizes and sends each, until it is told to stop; then None."""


def find_batch_size(config: Config, given: list[str], handle: Callable[[Event], None], serve: Serve | None = None) -> BatchSize:
    """Double the batch while that makes training faster and it fits; the choice is then tried alone, in a process that is fresh.

    Args:
        given: keys the user gave.
        handle: is told what goes on.
        serve: what the processes do; None is to train.
    """
    if serve is None:
        from thrifty.methods.batch_size_trials import serve
    handle(Preparing("finding the fastest batch size that fits"))
    tried = _tried(config, given, None, serve)
    left = list(tried)
    while (size := fastest(left)) is not None:
        again = _tried(config, given, [size], serve)
        if again and again[-1].examples_per_s is not None:
            return BatchSize(size, _about(size, tried))
        left = [one for one in left if one.size < size]
    return BatchSize(None, tried[-1].reason if tried else "no size could be tried")


def fastest(tried: Sequence[Tried]) -> int | None:
    """The smallest size that is as good as the fastest; None where none fits."""
    rates = {one.size: one.examples_per_s for one in tried if one.examples_per_s is not None}
    return min((size for size, rate in rates.items() if rate * AS_GOOD >= max(rates.values())), default=None)


def goes_on(tried: Sequence[Tried], spent_s: float) -> bool:
    """Whether to try twice the size: not where the last did not fit, where two in a row made nothing faster, or time is spent."""
    rates = [one.examples_per_s for one in tried]
    if spent_s > _SECONDS or rates[-1] is None:
        return False
    known = [rate for rate in rates if rate is not None]
    return len(known) < 3 or max(known[-2:]) > max(known[:-2]) * AS_GOOD


def _tried(config: Config, given: list[str], sizes: list[int] | None, serve: Serve) -> list[Tried]:
    """Sizes as a process tried them, the last perhaps without a rate; the process is gone by then."""
    context, kills = fork_server.context(), kernel_kills()
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(target=serve, args=(theirs, config, given, sizes))
    found: list[Tried] = []
    with ours:
        with theirs:
            process.start()
        try:
            _listen(ours, process, found)
        except (EOFError, ConnectionError):
            process.join()
            dead = process.exitcode or 0
            reason = cause_of_death(dead, kernel_kills() > kills, "the process that tried it")[1]
            found.append(Tried(_next(found, sizes), None, reason))
        finally:
            with contextlib.suppress(OSError):
                process.kill()
            process.join()
    return found


def _listen(connection: Connection, process: BaseProcess, found: list[Tried]) -> None:
    begin = time.monotonic()
    while True:
        spent = time.monotonic() - begin
        if not wait([connection, process.sentinel], timeout=max(1.0, _SECONDS - spent) if found else _PATIENCE):
            found.append(Tried(_next(found, None), None, "it took too long"))
            return
        said: Any = connection.recv()
        if said is None:
            return
        found.append(said)
        more = goes_on(found, time.monotonic() - begin)
        connection.send(more)
        if not more:
            return


def _next(found: Sequence[Tried], sizes: Sequence[int] | None) -> int:
    return 2 * found[-1].size if found else (sizes or [1])[0]


def _about(size: int, tried: Sequence[Tried]) -> str:
    rates = ", ".join(f"{one.size}: {one.examples_per_s:.4g}" for one in tried if one.examples_per_s is not None)
    last = tried[-1]
    ended = "" if last.examples_per_s is not None else f"; {last.size}: {last.reason}"
    return f"batch_size=auto took {size} ({rates} examples a second{ended}); the learning rate is the one for the default batch"
