"""What the device can do at best: the rate of a large matrix product."""

from __future__ import annotations

import time

import torch

from thrifty.measure.timing import synchronise


def matmul_flops_per_s(device: torch.device, dtype: torch.dtype, size: int | None = None, seconds: float = 0.5) -> float:
    """FLOP/s of the fastest of several square matrix products (2 * size^3 FLOP each)."""
    size = size or (8192 if device.type == "cuda" else 2048)
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    end = time.perf_counter() + seconds
    tries = 0
    while tries < 3 or time.perf_counter() < end:
        synchronise(device)
        begin = time.perf_counter()
        torch.mm(left, right)
        synchronise(device)
        best = min(best, time.perf_counter() - begin)
        tries += 1
    return 2 * size**3 / best
