"""Workloads for looks: one that works, one that does not."""

from __future__ import annotations

import torch

from thrifty.measure.workload import Workload


def working() -> Workload:
    values = torch.ones(4, 64)
    return Workload(lambda: values @ values.T, torch.device("cpu"), 4)


def failing() -> Workload:
    def call() -> object:
        raise ValueError("mat1 and mat2 shapes cannot be multiplied")

    return Workload(call, torch.device("cpu"))
