"""Workloads for looks and rounds: one that works, one of known speed, those that do not or no longer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from thrifty.measure.workload import Workload


def working() -> Workload:
    values = torch.ones(4, 64)
    return Workload(lambda: values @ values.T, torch.device("cpu"), 4)


def failing() -> Workload:
    def call() -> object:
        raise ValueError("mat1 and mat2 shapes cannot be multiplied")

    return Workload(call, torch.device("cpu"))


def sleeping(seconds: float, examples: int = 1, last: int = 10**9) -> Workload:
    """As long a call as is asked for; the process dies in call number `last`."""
    made = [0]

    def call() -> object:
        made[0] += 1
        if made[0] >= last:
            os._exit(3)
        time.sleep(seconds)
        return None

    return Workload(call, torch.device("cpu"), examples)


def once(seconds: float, mark: str) -> Workload:
    """The first process works, and all after it die."""
    if Path(mark).exists():
        os._exit(3)
    Path(mark).touch()
    return sleeping(seconds)
