"""Quantised layers in ONNX's own operators, for the time of an export."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.onnx.ops import symbolic, symbolic_multi_out

from thrifty.layers.quantized import DYNAMIC, Quantized, StaticConv2d, dense_twin, put_in_place, quantized

OPSET = 21
"""The first whose QuantizeLinear takes all of our integer types."""


def exportable(model: nn.Module, integer_products: bool) -> nn.Module:
    """A copy in float32 whose quantised layers are ones that an export writes down as integers and scales.

    Args:
        integer_products: whether scales that are found at every call become products of integers, or are left out, with activations as
            they are.
    """
    twin = copy.deepcopy(model).float().eval().requires_grad_(False)
    for name, layer in list(twin.named_modules()):
        found = quantized(layer)
        if found is None:
            continue
        if found.bits == 4 or found.weight.dtype is not torch.int8:
            put_in_place(twin, name, dense_twin(layer))
        elif found.activation == DYNAMIC and integer_products:
            put_in_place(twin, name, _Dynamic(layer, found))
        elif isinstance(found.activation, tuple):
            put_in_place(twin, name, _Static(layer, found))
        else:
            put_in_place(twin, name, _Weight(layer, found))
    return twin


class _Weight(nn.Module):
    """Integers that are turned into floating point before they are multiplied."""

    integers: Tensor
    scale: Tensor
    zeros: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Module, found: Quantized) -> None:
        super().__init__()
        dense = dense_twin(layer)
        assert isinstance(dense, (nn.Linear, nn.Conv2d))
        self.bias = dense.bias
        self.conv = (layer.stride, layer.padding, layer.dilation, layer.groups) if isinstance(layer, StaticConv2d) else None
        if self.conv is None:
            assert isinstance(dense, nn.Linear)
            self.in_features, self.out_features = dense.in_features, dense.out_features
        self.register_buffer("integers", found.weight)
        self.register_buffer("scale", found.scale.float())
        self.register_buffer("zeros", torch.zeros(len(found.weight), dtype=torch.int8))

    def weight(self) -> Tensor:
        parts = (self.integers, self.scale, self.zeros)
        return symbolic("DequantizeLinear", parts, {"axis": 0}, dtype=torch.float32, shape=self.integers.shape, version=OPSET)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.conv is None:
            return F.linear(inputs, self.weight(), self.bias)
        return F.conv2d(inputs, self.weight(), self.bias, *self.conv)


class _Static(_Weight):
    """The same, with inputs rounded by a fixed scale: engines make products of integers of it."""

    input_scale: Tensor
    input_zero: Tensor

    def __init__(self, layer: nn.Module, found: Quantized) -> None:
        super().__init__(layer, found)
        assert isinstance(found.activation, tuple)
        scale, zero = found.activation
        self.register_buffer("input_scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("input_zero", torch.tensor(zero, dtype=torch.uint8))

    def forward(self, inputs: Tensor) -> Tensor:
        by = (self.input_scale, self.input_zero)
        rounded = symbolic("QuantizeLinear", (inputs, *by), dtype=torch.uint8, shape=inputs.shape, version=OPSET)
        return super().forward(
            symbolic("DequantizeLinear", (rounded, *by), dtype=torch.float32, shape=inputs.shape, version=OPSET)
        )


class _Dynamic(_Weight):
    """Products of integers, the inputs' scale found at every call: one for all rows, as ONNX has no operator for one a row."""

    def __init__(self, layer: nn.Module, found: Quantized) -> None:
        super().__init__(layer, found)
        self.register_buffer("integers", found.weight.t().contiguous())

    def forward(self, inputs: Tensor) -> Tensor:
        rounded, scale, zero = symbolic_multi_out(
            "DynamicQuantizeLinear",
            (inputs,),
            dtypes=[torch.uint8, torch.float32, torch.uint8],
            shapes=[inputs.shape, [], []],
            version=11,
        )
        shape = [*inputs.shape[:-1], self.out_features]
        sums = symbolic("MatMulInteger", (rounded, self.integers, zero), dtype=torch.int32, shape=shape, version=10)
        outputs = sums.float() * (scale * self.scale)
        return outputs if self.bias is None else outputs + self.bias
