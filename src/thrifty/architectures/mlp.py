"""A funnel of fully connected layers: y = f(XW + b), over and over."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thrifty.architectures.example_images import example_images
from thrifty.config.choices.architectures import Mlp


def build(config: Mlp, shape: dict[str, int], dropout: float) -> nn.Module:
    """A model with fresh weights on torch's default device: (batch, inputs) or images -> (batch, outputs).

    The outputs are logits, or predictions of a regression: the sigmoid and the softmax lie in the loss, where they cannot
    overflow. Of an image (batch, channels, height, width) every pixel of every channel is an input.

    Args:
        config: `widths` is resolved.
        shape: `inputs`, or `channels`, `height` and `width` of images; and `outputs`.
        dropout: share of the hidden activations dropped while training.
    """
    assert config.widths is not None
    model = nn.Sequential()
    if "channels" in shape:
        model.add_module("flatten", nn.Flatten())
        inputs = shape["channels"] * shape["height"] * shape["width"]
    else:
        inputs = shape["inputs"]
    for number, width in enumerate(config.widths, start=1):
        # Layers have names because numbers would shift with dropout, and with them the keys of the saved weights.
        model.add_module(f"hidden{number}", nn.Linear(inputs, width))
        model.add_module(f"relu{number}", nn.ReLU())
        if dropout:
            model.add_module(f"dropout{number}", nn.Dropout(dropout))
        inputs = width
    model.add_module("output", nn.Linear(inputs, shape["outputs"]))
    return model


def example_inputs(config: Mlp, shape: dict[str, int], batch_size: int) -> Tensor:
    """A batch of what the model takes, always the same: standard normal numbers, (batch, inputs) or as images."""
    if "channels" in shape:
        return example_images(shape, batch_size)
    return torch.randn(batch_size, shape["inputs"], generator=torch.Generator().manual_seed(0))
