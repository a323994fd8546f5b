"""Workloads that misbehave as models of users do."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from thrifty.measure.workload import Workload

CPU = torch.device("cpu")


def well_behaved(batch_size: int = 1) -> Workload:
    values = torch.ones(batch_size, 64)
    return Workload(lambda: values @ values.T, CPU, batch_size)


def noted(file: str, call: str = "c", lead_in: str = "l") -> Workload:
    """Writes what is done into a file: a word a call, and a lead-in."""

    def note(what: str) -> Callable[[], object]:
        return lambda: Path(file).open("a").write(what)

    return Workload(note(call), CPU, 1, note(lead_in))


def fails_at_the_first_call() -> Workload:
    def call() -> object:
        raise ValueError("mat1 and mat2 shapes cannot be multiplied")

    return Workload(call, CPU)


def recompiles_later() -> Workload:
    """Compiled for one shape, and given another every fifth of a second after the first call."""
    compiled = torch.compile(lambda inputs: inputs + 1, backend="eager", dynamic=False)
    begin = None

    def call() -> object:
        nonlocal begin
        found = compiled(torch.ones(1 if begin is None else 1 + int((time.monotonic() - begin) / 0.2)))
        begin = begin or time.monotonic()
        return found

    return Workload(call, CPU)


def fails_later() -> Workload:
    calls = iter(range(4))

    def call() -> object:
        if next(calls, None) is None:
            raise RuntimeError("the fourth was the last")
        time.sleep(0.05)
        return torch.ones(1)

    return Workload(call, CPU)


def not_a_number() -> Workload:
    return Workload(lambda: torch.tensor([1.0, float("nan")]), CPU)


def too_much_memory() -> Workload:
    return Workload(lambda: torch.ones(2**50, dtype=torch.float64), CPU)


def starts_a_process(pid_file: str) -> Workload:
    child = subprocess.Popen(["sleep", "1000"])
    Path(pid_file).write_text(str(child.pid))
    return well_behaved()


def prints(text: str) -> Workload:
    os.write(1, text.encode())
    print(text, flush=True)
    return well_behaved()


def changes_everything() -> Workload:
    torch.set_num_threads(3)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(7)
    os.environ["OMP_NUM_THREADS"] = "5"
    sys.setrecursionlimit(123)
    return well_behaved()


def exits() -> Workload:
    os._exit(3)


def raises_system_exit() -> Workload:
    raise SystemExit("a library's way out")


def segfaults() -> Workload:
    ctypes.string_at(0)
    raise AssertionError("unreachable")


def is_killed() -> Workload:
    os.kill(os.getpid(), 9)
    raise AssertionError("unreachable")


def never_ends() -> Workload:
    return Workload(lambda: time.sleep(1000), CPU)
