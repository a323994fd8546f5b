"""Which sizes of its inputs an exported model leaves open."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def inputs_and_sizes(example: Tensor | tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Any]:
    """Inputs to trace a model with, and what torch.export is told of their sizes.

    Of one input the first size, that of the batch, is open; of several the second of the first, the tokens of an `Extension`.
    """
    alone = isinstance(example, Tensor)
    first, others = (example, ()) if alone else (example[0], example[1:])
    place, name = (0, "batch") if alone else (1, "time")
    first = first.detach().clone()
    if first.shape[place] == 1:  # that would be written down as a size that never changes
        first = first.repeat_interleave(2, dim=place)
    open_size = {place: torch.export.Dim(name, min=1)}
    if alone:
        return (first,), (open_size,)
    return (first, *(one.detach().clone() for one in others)), (open_size, (None,) * len(others))
