"""Weights whose tensors are made of others, as a quantised one is of integers and scales: taken apart for a file, and put together again.

The parts are those that torch's protocol for such tensors names (`__tensor_flatten__`); a part is called `NAME.PART`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def parts_of(one: Tensor) -> tuple[list[str], Any] | None:
    """Names of what a tensor is made of, and what else it takes to put it together; None of a plain one."""
    inner: Any = one.data if isinstance(one, nn.Parameter) else one
    return inner.__tensor_flatten__() if hasattr(type(inner), "__tensor_flatten__") else None


def flattened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by name, those that are made of others in their parts."""
    flat: dict[str, Tensor] = {}
    for name, one in tensors.items():
        parts = parts_of(one)
        if parts is None:
            flat[name] = one
        else:
            flat.update({f"{name}.{part}": getattr(one, part) for part in parts[0]})
    return flat


def put_together(outline: Mapping[str, Tensor], flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors like those of `outline`, which may be on the meta device, made of the numbers in `flat`.

    Raises:
        KeyError: a part is missing.
    """
    whole: dict[str, Tensor] = {}
    for name, like in outline.items():
        parts = parts_of(like)
        if parts is None:
            whole[name] = flat[name]
            continue
        inner: Any = like.data if isinstance(like, nn.Parameter) else like
        found = {part: flat[f"{name}.{part}"] for part in parts[0]}
        whole[name] = type(inner).__tensor_unflatten__(found, parts[1], inner.size(), inner.stride())
    return whole


def nonzero(one: Tensor) -> int:
    """How many numbers of a tensor are not zero; of a quantised one, of its integers."""
    parts = parts_of(one)
    if parts is None:
        return int(one.count_nonzero())
    inner = one.data if isinstance(one, nn.Parameter) else one
    with torch.no_grad():
        return int(inner.dequantize().count_nonzero())  # pyright: ignore[reportCallIssue]
