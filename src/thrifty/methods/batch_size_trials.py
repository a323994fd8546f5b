"""The process that tries batch sizes for batch_size=auto: a few optimiser steps of the run itself at each."""

from __future__ import annotations

import gc
import os
import signal
import statistics
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from thrifty.config.schema import Config
from thrifty.execution.batch_size import Tried
from thrifty.execution.death import end_with_parent, first_line, out_of_memory
from thrifty.record import usable_cores

if TYPE_CHECKING:
    import torch

    from thrifty.methods.train import TrainMethod

_SECONDS, _STEPS = 0.3, 3
"""Least time and steps that a size's rate is the median of, after one that is not counted."""
_MEMORY_SHARE = 0.8
"""Of the memory that is free, what the next size may be expected to take: where the kernel has to kill, it may kill others."""


def serve(connection: Connection, config: Config, given: list[str], sizes: list[int] | None) -> None:
    """Try sizes, one after the other, and send each as it is found; None after the last.

    Args:
        given: keys the user gave.
        sizes: None doubles from the smallest up to the training split.
    """
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    last = 0
    try:
        for found in _trials(config, given, sizes):
            last = found.size
            connection.send(found)
            if not connection.recv():
                break
        else:
            connection.send(None)
    except (EOFError, ConnectionError):  # the parent is gone
        pass
    except Exception as error:  # noqa: BLE001 - told to the parent, whose run then says it in full
        connection.send(Tried(2 * last or 1, None, first_line(error)))
    os._exit(0)  # library threads must not delay the end


def _trials(config: Config, given: Collection[str], sizes: list[int] | None) -> Iterator[Tried]:
    import torch

    from thrifty.execution.device import choose_device
    from thrifty.execution.readings import available_mib
    from thrifty.measure.memory import PeakHostMemory, host_memory
    from thrifty.methods.train import TrainMethod
    from thrifty.stop import StopRequest

    torch.set_num_threads(config.threads or usable_cores())
    device, smallest = choose_device(config), config.train.accumulate
    method = TrainMethod(replace(config, batch_size=smallest), device, lambda event: None, StopRequest())
    method.prepare(given)
    for size in sizes or _doublings(smallest, method.data.sizes["train"]):
        try:
            with PeakHostMemory() as memory:
                rate = _rate(method, size, device)
        except Exception as error:
            if not out_of_memory(error):
                raise
            yield Tried(size, None, "does not fit into memory")
            return
        yield Tried(size, rate)
        now, free = host_memory(), available_mib()
        if device.type == "cpu" and memory.peak_mib and memory.before_mib and now and free:
            # Twice the size takes twice what this one took, of which the allocator may hold some.
            needed = memory.before_mib + 2 * (memory.peak_mib - memory.before_mib) - now.anonymous_mib - now.file_mib
            if needed > _MEMORY_SHARE * free:
                yield Tried(2 * size, None, f"would take some {needed:.0f} MiB more, and {free:.0f} are free")
                return


def _rate(method: TrainMethod, size: int, device: torch.device) -> float:
    """Examples a second."""
    import torch

    from thrifty.measure.device import synchronise

    method.batch_size = size
    torch.manual_seed(method.config.seed)
    step = method.endless_steps()
    step()
    synchronise(device)
    taken: list[float] = []
    begin = last = time.perf_counter()
    while len(taken) < _STEPS or last - begin < _SECONDS:
        step()
        synchronise(device)
        before, last = last, time.perf_counter()
        taken.append(last - before)
    del step
    gc.collect()  # the model and its module hold each other
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return size / statistics.median(taken)


def _doublings(smallest: int, examples: int) -> Iterator[int]:
    size = smallest
    while size <= examples:
        yield size
        size *= 2
