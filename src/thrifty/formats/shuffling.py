"""Byte-shuffling: of all numbers first the first byte, then the second, and so on. Bytes that are alike then lie side by side,
which a compressor makes use of: the exponents of weights are few."""

from __future__ import annotations

import torch
from torch import Tensor

from thrifty.formats.header import Kind


def shuffled(one: Tensor) -> Tensor:
    """The bytes of a tensor as uint8, (bytes of a number, numbers)."""
    return one.reshape(-1).view(torch.uint8).view(-1, one.element_size()).t().contiguous()


def unshuffled(bytes_apart: Tensor, kind: Kind) -> Tensor:
    """The tensor whose bytes these are."""
    return bytes_apart.t().contiguous().view(-1).view(kind.dtype).view(kind.shape)
