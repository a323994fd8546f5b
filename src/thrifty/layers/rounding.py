"""Training with numbers rounded as they will be once they are quantised.

The forward pass sees rounded weights, and for some schemes rounded inputs; gradients pass as if nothing was rounded (Bengio et al.,
"Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation", 2013; Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """The rounded values, with the gradient of those they were rounded from."""
    return values + (rounded - values).detach()


def rows_rounded(inputs: Tensor) -> Tensor:
    """Inputs in 8 bits and back, a scale for each row (the last dimension)."""
    scale = (inputs.detach().abs().amax(-1, keepdim=True) / 127.5).clamp_min(torch.finfo(torch.float32).eps)
    return (inputs / scale).round().clamp(-128, 127) * scale


def attach(model: nn.Module, layers: Sequence[str], rounded: Callable[[Tensor], Tensor], inputs: bool) -> None:
    """Let linear layers compute with rounded numbers from now on; their parameters stay what they are.

    Args:
        rounded: weight -> the same in fewer bits, in floating point.
        inputs: whether what goes in is rounded too.
    """
    for name in layers:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear), name
        layer.forward = partial(_forward, layer, rounded, inputs)


def detach(model: nn.Module, layers: Sequence[str]) -> None:
    """Let them compute as they did before."""
    for name in layers:
        model.get_submodule(name).__dict__.pop("forward", None)


def _forward(layer: nn.Linear, rounded: Callable[[Tensor], Tensor], inputs: bool, input: Tensor) -> Tensor:
    if inputs:
        input = straight_through(input, rows_rounded(input))
    return F.linear(input, straight_through(layer.weight, rounded(layer.weight)), layer.bias)
