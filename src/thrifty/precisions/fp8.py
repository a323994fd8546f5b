"""8-bit floating point for the matrix products of linear layers, as torchao has it; the rest as in bf16."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from thrifty.config.choices import precisions
from thrifty.precisions.base import Precision

_FIRST_CAPABILITY = (8, 9)
"""Of the generations (Ada, Hopper) whose tensor cores multiply 8-bit floats. Source: NVIDIA, "H100 Tensor Core GPU", 2022."""
_SIDE = 16
"""What both sides of a weight must be multiples of for those tensor cores. Source: cuBLAS documentation, 8-bit data types."""
_HEADS = ("head", "output")
"""The layer whose outputs are the answer keeps 16 bits: it is small beside the rest, and its errors are not averaged."""


class Fp8(Precision):
    """4 bits of exponent and 3 of mantissa, each tensor scaled to its largest value at every product; gradients 5 and 2.

    The weights stay in 32 bits and are rounded anew for each product, so that a file is that of any other precision. Source:
    Micikevicius et al., "FP8 formats for deep learning", 2022.

    Args:
        emulate: round as the tensor cores would, and multiply in 32 bits: for tests, where there are none.
    """

    name = "fp8"
    matmul_dtype = torch.float8_e4m3fn

    def __init__(self, emulate: bool = False) -> None:
        super().__init__()
        self._emulate = emulate

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """That of bf16: its products are of what is not exchanged."""
        return torch.autocast(device_type, torch.bfloat16)

    def prepared(self, model: nn.Module, device_type: str) -> nn.Module:
        """The linear layers that fit, exchanged in place; where the device cannot, nothing is, and all computes in bf16."""
        fitting = converted_layers(model)
        if not fitting or (not self._emulate and self.unsupported(device_type) is not None):
            return model
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training

        # Padded: the number of examples in a product need not be a multiple of 16.
        config = Float8LinearConfig(emulate=self._emulate, pad_inner_dim=True)
        return convert_to_float8_training(model, module_filter_fn=lambda _, name: name in fitting, config=config)

    def unsuited(self, model: nn.Module) -> str | None:
        """A model without a linear layer that fits."""
        if converted_layers(model):
            return None
        return (
            f"precision=fp8: none of the model's layers would compute in 8 bits (linear ones do, both sides a multiple of {_SIDE}, "
            "but for the last); use precision=bf16"
        )

    def about(self, model: nn.Module) -> str:
        """How many layers compute in 8 bits."""
        layers = sum(isinstance(one, (nn.Linear, nn.modules.conv._ConvNd)) for one in model.modules())
        return f"precision=fp8: {len(converted_layers(model))} of {layers} layers compute in 8 bits, the others in bfloat16"

    def unsupported(self, device_type: str) -> str | None:
        """All but NVIDIA's GPUs since Ada and Hopper."""
        if device_type != "cuda":
            return (
                f"precision=fp8: a matter of NVIDIA's tensor cores since Ada and Hopper, which device={device_type} has not; "
                "use precision=bf16"
            )
        if torch.cuda.is_available() and torch.cuda.get_device_capability() < _FIRST_CAPABILITY:
            return f"precision=fp8: {torch.cuda.get_device_name()} is older than 8-bit floating point; use precision=bf16"
        return None


def converted_layers(model: nn.Module) -> Mapping[str, nn.Linear]:
    """Of a model's linear layers those that compute in 8 bits, by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and name.rpartition(".")[2] not in _HEADS
        and layer.in_features % _SIDE == layer.out_features % _SIDE == 0
    }


def build(config: precisions.Precision) -> Precision:
    """The precision a configuration names."""
    return Fp8()
