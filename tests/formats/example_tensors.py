"""Tensors of every type and layout that a format must give back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

MANIFEST = {"schema": 1, "task": {"state": {"labels": ["no", "größer"], "mean": 0.1}}, "weights": {"bytes": 12345}}
"""Of a run, as far as a format cares."""


def example_tensors() -> dict[str, Tensor]:
    """Always the same."""
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weight, pruned = numbers(5, 7), numbers(40, 50)
    pruned[pruned.abs() < 1.5] = 0
    found = {
        "blocks.0.weight": weight,
        "blocks.0.bias": numbers(5).to(torch.bfloat16),
        "half": numbers(3, 3).half(),
        "double": numbers(2, 3).double(),
        "pruned": pruned,
        "nothing": torch.zeros(100, 3),
        "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-40]),
        "special.bf16": torch.tensor([float("nan"), -0.0, 3.0], dtype=torch.bfloat16),
        "int8": torch.arange(-20, 21, dtype=torch.int8),
        "uint8": torch.arange(9, dtype=torch.uint8).view(3, 3),
        "int64": torch.tensor([-(2**62), 5]),
        "bool": torch.tensor([[True, False, True]]),
        "scalar": torch.tensor(3.5),
        "scalar.bf16": torch.tensor(-3.5, dtype=torch.bfloat16),
        "seen": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "turned": numbers(4, 6).t(),
        "part": numbers(10, 10)[2:5, 1:3],
        "shared": weight,
        "float8": numbers(7).to(torch.float8_e4m3fn),
        "parameter": torch.nn.Parameter(numbers(2)),
        "a/b": numbers(2),
        "größe": numbers(1),
        "file": numbers(3),
        "x": numbers(1),
        "x.npy": numbers(2),
    }
    for dtype in (torch.int32, torch.int16, torch.uint16, torch.uint32, torch.uint64, torch.float8_e5m2):
        found[str(dtype)] = torch.arange(12).to(dtype).view(2, 6)
    return found


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Type, shape and bits, so that not-a-number equals itself and -0 not 0."""
    if one.dtype is not other.dtype or one.shape != other.shape:
        return False
    given, back = (each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(given, back)


def same_tensors(given: dict[str, Tensor], back: dict[str, Tensor]) -> bool:
    """The same names in the same order, and the same bits."""
    return list(given) == list(back) and all(same_bits(one, back[name]) for name, one in given.items())


def written(folder: Path) -> list[str]:
    """What lies in a folder, hidden files too."""
    return sorted(one.name for one in folder.iterdir())
