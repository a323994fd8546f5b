"""What a device can do at best: the rate of a matrix product, and of moving memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from thrifty.measure.device import synchronise

SIZES = {"cuda": (1024, 2048, 4096, 8192)}
"""Sides of the square matrices tried on a device, smallest first."""
_OTHER_SIZES = (256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class MatmulCeiling:
    """The fastest matrix product found."""

    flops_per_s: float
    """2 * size^3 operations a product, over its seconds."""
    size: int
    """Side of the square matrices it was found with."""


def matmul_ceiling(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> MatmulCeiling:
    """The best rate of any size that fits the time, from the smallest up.

    A dtype without arithmetic of its own can be a hundred times slower than another: one product of a fixed size might then
    take a minute, so a size is tried only when three of its products, at the rate seen so far, fit into the time left.
    """
    best: MatmulCeiling | None = None
    sizes = SIZES.get(device.type, _OTHER_SIZES)
    product = _product(device, dtype, sizes[0])
    product()  # starts threads, chooses kernels, on CUDA loads them
    end = time.perf_counter() + seconds
    for size in sizes:
        if size != sizes[0]:
            product = _product(device, dtype, size)
        shortest = _fastest(product, device, seconds / (2 * len(sizes)), least=2)
        rate = 2 * size**3 / shortest
        if best is None or rate > best.flops_per_s:
            best = MatmulCeiling(rate, size)
        if 3 * 8 * shortest > end - time.perf_counter():  # the next size has at least 8 times the operations
            break
    assert best is not None
    left = end - time.perf_counter()
    if left > 0:  # once more where it was fastest: what else the machine does comes and goes
        again = 2 * best.size**3 / _fastest(_product(device, dtype, best.size), device, left, least=1)
        best = MatmulCeiling(max(best.flops_per_s, again), best.size)
    return best


def copy_bytes_per_s(device: torch.device, array_mib: float, seconds: float = 1.0) -> float:
    """Bytes a second read and written by copying an array of `array_mib` MiB, which should be far above the last cache."""
    source, target = (torch.ones(_elements(array_mib), device=device) for _ in range(2))
    moved = 2 * source.nbytes
    return moved / _fastest(lambda: target.copy_(source), device, seconds, least=3)


def triad_bytes_per_s(device: torch.device, array_mib: float, seconds: float = 1.0) -> float:
    """Bytes a second read and written by a = b + 3 c over arrays of `array_mib` MiB. Source: McCalpin, STREAM, 1995."""
    left, right, target = (torch.ones(_elements(array_mib), device=device) for _ in range(3))
    moved = 3 * target.nbytes
    return moved / _fastest(lambda: torch.add(left, right, alpha=3.0, out=target), device, seconds, least=3)


def _product(device: torch.device, dtype: torch.dtype, size: int) -> Callable[[], object]:
    """A call that multiplies two square matrices; 8-bit integers give 32-bit sums, 8-bit floats bfloat16."""
    if dtype is torch.float8_e4m3fn:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        one = torch.ones((), device=device)
        return lambda: torch._scaled_mm(left, right.t(), one, one, out_dtype=torch.bfloat16, use_fast_accum=True)  # pyright: ignore[reportPrivateImportUsage]
    if dtype is torch.int8:
        left, right = (torch.randint(-127, 128, (size, size), dtype=dtype, device=device) for _ in range(2))
        return lambda: torch._int_mm(left, right)  # pyright: ignore[reportPrivateImportUsage] - torch has no other door
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return lambda: torch.mm(left, right)


def _fastest(call: Callable[[], object], device: torch.device, seconds: float, least: int) -> float:
    """Seconds of the shortest of at least `least` calls made for `seconds`."""
    best = float("inf")
    end = time.perf_counter() + seconds
    tries = 0
    while tries < least or time.perf_counter() < end:
        synchronise(device)
        begin = time.perf_counter()
        call()
        synchronise(device)
        best = min(best, time.perf_counter() - begin)
        tries += 1
    return best


def _elements(mib: float) -> int:
    """32-bit numbers in as many MiB."""
    return int(mib * 2**20 / 4)
