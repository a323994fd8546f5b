"""The usual way, as the reference to beat: torch.utils.benchmark times one thing, and then the other, in one process."""

from __future__ import annotations

import importlib
import os
from multiprocessing.connection import Connection

from thrifty.execution import fork_server
from thrifty.execution.arm_worker import ArmSpec


def sequential_ratio(first: ArmSpec, second: ArmSpec, seconds: float) -> float:
    """The second's median time over the first's, in `seconds` for both together, in a fresh process."""
    context = fork_server.context(fork_server.ARMS)
    ours, theirs = context.Pipe()
    process = context.Process(target=_time_both, args=(theirs, first, second, seconds))
    process.start()
    theirs.close()
    ratio: float = ours.recv()
    process.join()
    return ratio


def _time_both(connection: Connection, first: ArmSpec, second: ArmSpec, seconds: float) -> None:
    import torch
    from torch.utils.benchmark import Timer

    if first.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, first.cores)
    medians = []
    for spec in (first, second):
        module, function = spec.entry.split(":")
        call = getattr(importlib.import_module(module), function)(**spec.options).call
        timer = Timer("call()", globals={"call": call}, num_threads=spec.threads)
        medians.append(timer.blocked_autorange(min_run_time=seconds / 2).median)
    connection.send(medians[1] / medians[0])
    connection.close()
    torch.set_num_threads(1)
    os._exit(0)
