"""Which bytes of a stream make which example: blocks to splits, draws to windows. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BLOCKS = 100
LEAST_WINDOWS = 3
"""A short stream gets fewer blocks, so that each still holds about this many windows."""


def block_count(size: int, context: int) -> int:
    """Into how many equal blocks a stream of `size` bytes is cut; it has at least 3 * (context + 1)."""
    return max(3, min(BLOCKS, size // (LEAST_WINDOWS * (context + 1))))


def split_ranges(size: int, blocks: int, validation: float, test: float, seed: int) -> dict[str, list[tuple[int, int]]]:
    """Byte ranges (begin, end) of each split, in order; neighbouring blocks of one split are one range.

    Args:
        validation: share of the blocks; at least one is given, and at least one is left for the others.
        test: likewise.
        seed: of the permutation that deals out the blocks.
    """
    for_validation = min(max(1, round(blocks * validation)), blocks - 2)
    for_test = min(max(1, round(blocks * test)), blocks - for_validation - 1)
    order = np.random.default_rng(seed).permutation(blocks).tolist()
    dealt = {
        "train": order[for_validation + for_test :],
        "validation": order[:for_validation],
        "test": order[for_validation : for_validation + for_test],
    }
    return {split: _ranges(sorted(numbers), size, blocks) for split, numbers in dealt.items()}


def _ranges(blocks: list[int], size: int, of: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for block in blocks:
        begin, end = block * size // of, (block + 1) * size // of
        if ranges and ranges[-1][1] == begin:
            begin = ranges.pop()[0]
        ranges.append((begin, end))
    return ranges


class Windows:
    """The examples of one split: windows of `context` bytes and the byte after, side by side within each range.

    They are numbered so that the first few of them are spread over the whole split: a short evaluation is a fair sample of
    a long one, and a part of it.

    Args:
        ranges: at least context + 1 bytes each.
        shifted: whether the windows lie elsewhere in each epoch, so that training sees every byte at every position.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], context: int, shifted: bool) -> None:
        counts, origins, room = [], [], []
        first = 0
        for begin, end in ranges:
            length = end - begin
            # One window less than fits leaves room for any shift; a range of fewer than two windows has what room it has.
            count = max(1, length // context - 1) if shifted else (length - 1) // context
            counts.append(count)
            origins.append(begin - first * context)
            room.append(min(context, length - count * context))
            first += count
        self.context = context
        self.shifted = shifted
        self.count = first
        self._spread = coprime_near_golden_section(first)
        self._stride = coprime_near_golden_section(context)
        self._ends = torch.tensor(np.cumsum(counts), dtype=torch.int64)
        self._origins = torch.tensor(origins)
        self._room = torch.tensor(room)

    def to(self, device: torch.device) -> Windows:
        """The same windows for draws that lie on the device."""
        moved = Windows.__new__(Windows)
        moved.__dict__.update(
            {name: value.to(device) if isinstance(value, Tensor) else value for name, value in self.__dict__.items()}
        )
        return moved

    def starts(self, draws: Tensor) -> Tensor:
        """First byte of each drawn window; the shape and device are those of `draws`."""
        epoch = draws.div(self.count, rounding_mode="floor")
        window = (draws - epoch * self.count).mul_(self._spread).remainder_(self.count)
        which = torch.searchsorted(self._ends, window, right=True)
        starts = self._origins[which] + window.mul_(self.context)
        if self.shifted:
            starts += epoch.mul_(self._stride).remainder_(self.context) % self._room[which]
        return starts


def coprime_near_golden_section(count: int) -> int:
    """A step that visits all of `count` places in a ring, the first few of them far apart."""
    step = max(1, min(round(count * 0.6180339887498949), 2**62 // count))  # count * step must fit in 63 bits
    while math.gcd(step, count) != 1:
        step += 1
    return step
