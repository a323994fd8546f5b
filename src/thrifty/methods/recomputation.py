"""Activations computed again in the backward pass instead of kept. Source: Chen et al., "Training Deep Nets with Sublinear Memory
Cost", 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(model: nn.Module) -> int:
    """Make each of a model's `blocks` keep its inputs only; returns how many there are, 0 for a model without blocks."""
    found = list(getattr(model, "blocks", ()))
    for block in found:
        block.forward = _recomputed(block.forward)
    return len(found)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def again(*inputs: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)

    return again
