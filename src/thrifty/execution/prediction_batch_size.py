"""thrifty predict --batch-size auto: the batch at which the processes there are predict the most a second, found by trying."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from thrifty.errors import OutOfMemory
from thrifty.execution.batch_size import AS_GOOD, BatchSize, Tried, fastest, goes_on
from thrifty.execution.death import out_of_memory
from thrifty.execution.prediction_pool import PredictionPool
from thrifty.execution.readings import available_mib
from thrifty.tasks.prediction_batches import Examples

SMALLEST = 16
_SECONDS = 1.0
"""That a size is tried for."""
_GETTING_READY_S = 90.0
"""That engines may take to compile for the sizes, beside the time of trying them: the first one's file serves all others of some."""
_MEMORY_SHARE = 0.8
"""Of the memory that is free, what the next size may be expected to take: where the kernel has to kill, it may kill others."""


def find_batch_size(pool: PredictionPool, examples: Examples, seconds: float = _SECONDS) -> BatchSize:
    """Double the batch, of the first examples, while that predicts more a second and fits.

    Returns:
        a size, and the sentence that says why.

    Raises:
        OutOfMemory: not even the smallest could be predicted.
        ThriftyError: as `PredictionPool.map` does.
    """
    share = -(-examples.count // pool.processes)  # larger batches would leave a process without one
    if share <= SMALLEST:
        return BatchSize(max(share, 1), f"--batch-size auto took {max(share, 1)}: more would leave a process without work")
    pool.wait_until_ready()
    loaded, begin = _peak_mib(pool), time.monotonic()
    tried: list[Tried] = []
    ready_s = 0.0
    size, why = SMALLEST, "more would leave a process without work"
    while size <= share:
        try:
            rate, seconds_of_size = _rate(pool, examples.inputs(0, size), seconds)
            ready_s += seconds_of_size
            tried.append(Tried(size, rate))
        except (OutOfMemory, MemoryError, RuntimeError) as error:
            if not isinstance(error, OutOfMemory) and not out_of_memory(error):
                raise
            if not tried:
                raise
            pool.renew()
            tried.append(Tried(size, None, "does not fit into memory"))
        else:
            if (too_much := _too_much(pool, loaded)) is not None:
                tried.append(Tried(2 * size, None, too_much))
        rate = tried[-1].examples_per_s
        if rate is None:
            why = f"{tried[-1].size}: {tried[-1].reason}"
        elif not goes_on(tried, 0.0):
            why = f"larger ones were not {100 * (AS_GOOD - 1):.0f} % faster"
        elif not goes_on(tried, time.monotonic() - begin - ready_s):
            why = f"the time was spent, so that none over {size} was tried"
        elif ready_s > _GETTING_READY_S:
            why = f"getting ready for {len(tried)} sizes took {ready_s:.0f} s, so that none over {size} was tried"
        elif examples.count < rate * seconds:
            why = f"all {examples.count:,} examples take less than another try"
        else:
            size *= 2
            continue
        break
    size = fastest(tried)
    assert size is not None, "the smallest was predicted"
    return BatchSize(size, _about(size, tried, why))


def _rate(pool: PredictionPool, inputs: Tensor, seconds: float) -> tuple[float, float]:
    """Examples a second of all processes together, and the seconds that getting ready for them took, beside predicting them once."""
    begin = time.perf_counter()
    for _ in pool.map([inputs] * pool.processes, restarts=False):  # each gets ready for the shape
        pass
    ready_s, begin = time.perf_counter() - begin, time.perf_counter()
    done = sum(len(outputs) for outputs in pool.map(_again(inputs, begin + seconds), restarts=False))
    rate = done / (time.perf_counter() - begin)
    return rate, max(0.0, ready_s - len(inputs) * pool.processes / rate)


def _again(inputs: Tensor, end: float) -> Iterator[Tensor]:
    yield inputs
    while time.perf_counter() < end:
        yield inputs


def _too_much(pool: PredictionPool, loaded: float | None) -> str | None:
    """Why not to try twice the size: it would take twice what this one took."""
    peak, free = _peak_mib(pool), available_mib()
    if peak is None or loaded is None or free is None or peak - loaded <= _MEMORY_SHARE * free:
        return None
    return f"would take some {peak - loaded:.0f} MiB more, and {free:.0f} are free"


def _peak_mib(pool: PredictionPool) -> float | None:
    """The most that all processes have held so far; None where the system does not tell."""
    kib = 0
    for pid in pool.pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return None
        kib += next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return kib / 1024


def _about(size: int, tried: Sequence[Tried], why: str) -> str:
    rates = ", ".join(f"{one.size}: {one.examples_per_s:.4g}" for one in tried if one.examples_per_s is not None)
    return f"--batch-size auto took {size} ({rates} examples a second); {why}"
