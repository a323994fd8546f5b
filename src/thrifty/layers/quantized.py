"""Quantised layers as every engine sees them: integers, scales, and what becomes of the activations; and the layers of our own.

torchao's tensors replace the weight of an ordinary `nn.Linear`; scales fixed by calibration, and weights of four bits on processors, are
layers here, whose state is plain tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DYNAMIC = "dynamic"


@dataclass(frozen=True)
class Quantized:
    """What of a layer is quantised."""

    bits: int
    weight: Tensor
    """int8, or 8 bits of floating point, of the dense weight's shape."""
    scale: Tensor
    """float32, (outputs,), or (outputs, groups) where the inputs are in groups."""
    zero: Tensor | None = None
    """What is added to the product of weight and scale, of the scale's shape; None is none."""
    activation: str | tuple[float, int] | None = None
    """`dynamic`: scaled at each call; a scale and a zero point of uint8; None: left as they are."""

    def dense(self) -> Tensor:
        """The weight that the integers stand for, float32."""
        rows = self.weight.shape[0]
        groups = self.scale.reshape(rows, -1).shape[1]
        grouped = self.weight.reshape(rows, groups, -1).float() * self.scale.reshape(rows, groups, 1).float()
        if self.zero is not None:
            grouped = grouped + self.zero.reshape(rows, groups, 1).float()
        return grouped.reshape(self.weight.shape)


class KeepsScales(nn.Module):
    """Scales stay what they are where a model is cast to another type: only its other weights are."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def moved(one: Tensor) -> Tensor:
            found = fn(one)
            return found if isinstance(one, nn.Parameter) or found.dtype == one.dtype else one.to(found.device)

        return super()._apply(moved, recurse)


class Static(KeepsScales):
    """A layer with int8 weights, a scale for each output, whose inputs are rounded to uint8 by a scale that calibration has fixed.

    Written in the operations that inductor's passes for x86 processors look for, by which int8 products replace what they say
    (torchao.quantization.pt2e.inductor_passes); as PyTorch runs it, it rounds and computes in floating point, slower than without.

    Args:
        layer: what it replaces; on the meta device the integers are anything until they are loaded.
        scale, zero: of the inputs.
    """

    qdata: Tensor
    scale: Tensor
    weight_zero: Tensor
    input_scale: Tensor
    input_zero: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d, scale: float = 1.0, zero: int = 0) -> None:
        super().__init__()
        weight = layer.weight.detach()
        rows = weight.flatten(1).float()
        weight_scale = (rows.abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).eps)
        rounded = (rows / weight_scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        self.register_buffer("qdata", rounded.view(weight.shape))
        self.register_buffer("scale", weight_scale)
        self.register_buffer("weight_zero", torch.zeros_like(weight_scale, dtype=torch.int64), persistent=False)
        device = weight.device
        self.register_buffer("input_scale", torch.tensor(scale, dtype=torch.float64, device=device))
        self.register_buffer("input_zero", torch.tensor(zero, dtype=torch.int64, device=device))
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
        self.settle()

    def settle(self) -> None:
        """Take up the numbers that were loaded: compiling wants scales as numbers, not as tensors."""
        if self.qdata.device.type == "meta":
            self.numbers = (1.0, 0)
            return
        self.numbers = (float(self.input_scale), int(self.input_zero))
        self.weight_zero = torch.zeros_like(self.scale, dtype=torch.int64)

    def quantized(self) -> Quantized:
        """As every engine sees it."""
        return Quantized(8, self.qdata, self.scale, None, self.numbers)

    def rounded(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and weight, rounded and back in floating point."""
        scale, zero = self.numbers
        ops = torch.ops.quantized_decomposed
        integers = ops.quantize_per_tensor.default(inputs.float(), scale, zero, 0, 255, torch.uint8)
        inputs = ops.dequantize_per_tensor.default(integers, scale, zero, 0, 255, torch.uint8)
        weight = ops.dequantize_per_channel.default(self.qdata, self.scale, self.weight_zero, 0, -128, 127, torch.int8)
        return inputs, weight


class StaticLinear(Static):
    """Of a linear layer; (..., inputs) -> (..., outputs), float32."""

    def __init__(self, layer: nn.Linear, scale: float = 1.0, zero: int = 0) -> None:
        super().__init__(layer, scale, zero)
        self.in_features, self.out_features = layer.in_features, layer.out_features

    def forward(self, inputs: Tensor) -> Tensor:
        """The products of the rounded numbers."""
        return F.linear(*self.rounded(inputs), self.bias)


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    first, second = sizes
    return first, second


class StaticConv2d(Static):
    """Of a convolution; (batch, channels, height, width), float32."""

    def __init__(self, layer: nn.Conv2d, scale: float = 1.0, zero: int = 0) -> None:
        super().__init__(layer, scale, zero)
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        assert not isinstance(layer.padding, str)
        self.kernel_size, self.stride, self.padding = map(_pair, (layer.kernel_size, layer.stride, layer.padding))
        self.dilation, self.groups = _pair(layer.dilation), layer.groups

    def forward(self, inputs: Tensor) -> Tensor:
        """The convolution of the rounded numbers."""
        inputs, weight = self.rounded(inputs)
        return F.conv2d(inputs, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Int4Linear(KeepsScales):
    """A linear layer with weights of four bits, a scale and an offset for each group of inputs; activations stay as they are.

    In a file, and in memory beside what the kernel takes, two weights share a byte. On processors torch's own kernel multiplies
    (`_weight_int4pack_mm_for_cpu`); elsewhere the weights are unpacked first.
    """

    packed: Tensor
    scale: Tensor
    middle: Tensor
    kernel_weight: Tensor | None
    kernel_scales: Tensor | None

    def __init__(self, layer: nn.Linear, group: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.group = layer.in_features, layer.out_features, group
        grouped = layer.weight.detach().float().view(self.out_features, -1, group)
        low, high = grouped.amin(2), grouped.amax(2)
        scale = ((high - low) / 15).clamp_min(1e-6)
        # As the kernel has it: weight = (integer - 8) * scale + middle.
        middle = low + 8 * scale
        integers = ((grouped - low[:, :, None]) / scale[:, :, None]).round().clamp(0, 15).to(torch.uint8)
        pairs = integers.view(self.out_features, -1)
        self.register_buffer("packed", pairs[:, ::2] | (pairs[:, 1::2] << 4))
        self.register_buffer("scale", scale)
        self.register_buffer("middle", middle)
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
        self.register_buffer("kernel_weight", None, persistent=False)
        self.register_buffer("kernel_scales", None, persistent=False)
        self.settle()

    def settle(self) -> None:
        """Take up the numbers that were loaded, in the order that the kernel wants them."""
        if self.packed.device.type != "cpu":
            return
        with torch.inference_mode(False):
            self.kernel_weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(self.integers().int(), 1)
            self.kernel_scales = torch.stack([self.scale.t(), self.middle.t()], 2).contiguous()

    def integers(self) -> Tensor:
        """From 0 to 15, uint8, (outputs, inputs)."""
        return torch.stack([self.packed & 15, self.packed >> 4], 2).view(self.out_features, self.in_features)

    def quantized(self) -> Quantized:
        """As every engine sees it."""
        return Quantized(4, (self.integers().to(torch.int8) - 8), self.scale, self.middle)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs), of the inputs' type."""
        if self.kernel_weight is None or self.kernel_scales is None:
            return F.linear(inputs, self.quantized().dense().to(inputs.dtype), self.bias)
        rows = inputs.reshape(-1, self.in_features)
        scales = self.kernel_scales.to(rows.dtype)
        outputs = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.kernel_weight, self.group, scales)
        outputs = outputs.view(*inputs.shape[:-1], self.out_features)
        return outputs if self.bias is None else outputs + self.bias.to(outputs.dtype)


class RowsLinear(nn.Linear):
    """A linear layer that takes its inputs as rows, with the weight of another; (..., inputs) -> (..., outputs).

    Compiled, (1, 1, inputs), a token by itself, would be read as one row that begins where the next one does, and torch 2.13's product
    of integers takes such a stride of 0 at its word: what comes out is of other memory, thousands of times too large.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """The product."""
        return super().forward(input.reshape(-1, self.in_features)).view(*input.shape[:-1], self.out_features)


def quantized(layer: nn.Module) -> Quantized | None:
    """What of a layer is quantised; None where nothing is."""
    if isinstance(layer, (Static, Int4Linear)):
        return layer.quantized()
    weight: Any = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and hasattr(weight, "qdata"):
        inner: Any = weight
        if inner.qdata.dtype is not torch.int8:
            rows = inner.qdata.shape[0]  # 8 bits of floating point; a scale for each row, or one for all
            return Quantized(8, inner.qdata, inner.scale.flatten().expand(rows))
        activation = None if inner.act_quant_kwargs is None else DYNAMIC
        return Quantized(8, inner.qdata, inner.scale.flatten(), None, activation)
    return None


def quantized_layers(model: nn.Module) -> dict[str, Quantized]:
    """Those of a model, by name."""
    found = {name: quantized(one) for name, one in model.named_modules()}
    return {name: one for name, one in found.items() if one is not None}


def settle(model: nn.Module) -> None:
    """To be called once a quantised model was loaded."""
    for one in model.modules():
        if isinstance(one, (Static, Int4Linear)):
            one.settle()


def put_in_place(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Replace the layer of a name."""
    around, _, last = name.rpartition(".")
    setattr(model.get_submodule(around), last, layer)


def dense_twin(layer: nn.Module) -> nn.Module:
    """A floating-point layer of a quantised one, with the weights that its integers stand for."""
    found = quantized(layer)
    assert found is not None
    if isinstance(layer, StaticConv2d):
        twin: nn.Module = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups,
            bias=layer.bias is not None, device="meta",
        )  # fmt: skip
    else:
        assert isinstance(layer, (nn.Linear, StaticLinear, Int4Linear))
        twin = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    twin.weight = nn.Parameter(found.dense(), requires_grad=False)
    if layer.bias is not None:
        twin.bias = nn.Parameter(layer.bias.detach().float(), requires_grad=False)
    return twin


def shares_memory(model: nn.Module, name: str) -> bool:
    """Whether the layer's weight has another name in the model: a tied one cannot be replaced alone."""
    weight: Any = model.get_submodule(name).weight
    return sum(one is weight for _, one in model.named_parameters(remove_duplicate=False)) > 1


def weights(model: nn.Module) -> list[Tensor]:
    """The parameters, shared ones once, those of quantised layers in floating point as their integers stand for them."""
    parameters: list[Tensor] = list(model.parameters())
    own = [one.quantized().dense() for one in model.modules() if isinstance(one, (Static, Int4Linear))]
    return parameters + own
