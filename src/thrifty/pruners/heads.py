"""Attention heads as units: which rows and columns of the weights make up each of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Attention:
    """A module whose `qkv` makes the queries, keys and values of all heads and whose `projection` reads what they say."""

    name: str
    heads: int
    width: int
    """Of one head."""

    @property
    def rows(self) -> Tensor:
        """Outputs of `qkv` by head, int64 (heads, 3 * width): all queries lie before all keys, and these before all values."""
        return torch.arange(3 * self.heads * self.width).view(3, self.heads, self.width).transpose(0, 1).flatten(1)

    @property
    def columns(self) -> Tensor:
        """Inputs of `projection` by head, int64 (heads, width)."""
        return torch.arange(self.heads * self.width).view(self.heads, self.width)


def attentions(model: nn.Module) -> list[Attention]:
    """Every attention of a model that has its queries, keys and values in one layer, in the model's order.

    They are known by what they have, as a pruner knows no architecture: `heads`, and the linear layers `qkv` and `projection`.
    """
    found = []
    for name, module in model.named_modules():
        heads, qkv, projection = (getattr(module, one, None) for one in ("heads", "qkv", "projection"))
        if not isinstance(heads, int) or not isinstance(qkv, nn.Linear) or not isinstance(projection, nn.Linear):
            continue
        if heads > 0 and qkv.out_features == 3 * projection.in_features and projection.in_features % heads == 0:
            found.append(Attention(name, heads, projection.in_features // heads))
    return found
