"""Tensors as arrays of numpy, for the formats that know its types only: the bits of another type as whole numbers of its size."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from thrifty.formats.header import Kind

_KNOWN = {
    torch.float64: np.float64, torch.float32: np.float32, torch.float16: np.float16, torch.bool: np.bool_,
    torch.int64: np.int64, torch.int32: np.int32, torch.int16: np.int16, torch.int8: np.int8,
    torch.uint64: np.uint64, torch.uint32: np.uint32, torch.uint16: np.uint16, torch.uint8: np.uint8,
}  # fmt: skip
_BITS = {1: torch.uint8, 2: torch.uint16}
"""For types that numpy lacks, by the bytes of a number."""


def entry_name(name: str) -> str:
    """What a tensor is called in a file, where / and the like mean something: usual names stay as they are."""
    return quote(name, safe="")


def numpy_type(kind: Kind) -> np.dtype:
    """The type of the array that holds such a tensor, little-endian."""
    return np.dtype(_KNOWN[_seen_as(kind.dtype)]).newbyteorder("<")


def array_of(one: Tensor) -> np.ndarray:
    """A tensor's numbers, not copied."""
    return one.view(_seen_as(one.dtype)).numpy()


def tensor_of(array: np.ndarray, kind: Kind) -> Tensor:
    """The tensor whose numbers an array holds, not copied."""
    return torch.from_numpy(array).view(kind.dtype)


def _seen_as(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in _KNOWN else _BITS[dtype.itemsize]
