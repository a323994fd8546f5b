"""Images made up from a model's shape."""

from __future__ import annotations

import torch
from torch import Tensor


def example_images(shape: dict[str, int], batch_size: int) -> Tensor:
    """Always the same: standard normal pixels, float32 (batch, channels, height, width)."""
    sizes = (batch_size, shape["channels"], shape["height"], shape["width"])
    return torch.randn(sizes, generator=torch.Generator().manual_seed(0))
