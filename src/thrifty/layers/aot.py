"""A model as torch.export takes it: plain tensors only, and its precision within the forward pass."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from thrifty.layers.flat import parts_of


class _Under(nn.Module):
    """The model in bfloat16 by autocast."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor, *remembered: Tensor) -> Tensor | tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self.module(inputs, *remembered)
        return (outputs[0].float(), *outputs[1:]) if isinstance(outputs, tuple) else outputs.float()


def exportable(module: nn.Module, precision: str) -> nn.Module:
    """A copy whose weights are plain tensors, torchao's put together in the forward pass."""
    twin = copy.deepcopy(module).eval().requires_grad_(False)
    if any(parts_of(one) is not None for one in twin.parameters()):
        from torchao.utils import unwrap_tensor_subclass

        twin = unwrap_tensor_subclass(twin)
    return twin if precision == "fp32" else _Under(twin).eval()
