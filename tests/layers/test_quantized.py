"""Quantised layers: integers near the weights they stand for, the same bytes each time, and back from a file to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import CHOICES, load
from thrifty.formats.safetensors import tensors_of
from thrifty.layers import rounding
from thrifty.layers.calibration import Calibration
from thrifty.layers.quantized import Int4Linear, StaticConv2d, StaticLinear, quantized
from thrifty.quantizers.base import Quantizer

CPU_SCHEMES = sorted(name for name in CHOICES["quantizer"] if not name.startswith("fp8"))
INT8 = [name for name in CPU_SCHEMES if "int8" in name]


def quantizer(name: str, **changes: object) -> Quantizer:
    return load("quantizer", name)(chosen(f"quantizer={name}", **changes))


def linear(inputs: int = 64, outputs: int = 32, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias).requires_grad_(False)


@pytest.mark.parametrize("name", INT8)
def test_eight_bits_are_off_by_at_most_half_a_step(name: str) -> None:
    layer = linear()
    found = quantized(quantizer(name).converted(layer, (0.1, 128)))
    assert found is not None
    assert found.weight.dtype is torch.int8
    error = (found.dense() - layer.weight).abs()
    assert (error <= found.scale[:, None] / 2 * (1 + 1e-4) + 1e-9).all()


def test_four_bits_are_off_by_at_most_half_a_step_of_their_group() -> None:
    layer = linear(128, 32)
    found = quantized(quantizer("int4_weight", group=32).converted(layer))
    assert found is not None
    assert found.scale.shape == (32, 4)
    error = (found.dense() - layer.weight).abs().view(32, 4, 32)
    assert (error <= found.scale[:, :, None] / 2 * (1 + 1e-3) + 1e-9).all()
    assert int(found.weight.min()) >= -8
    assert int(found.weight.max()) <= 7


def test_the_kernel_for_four_bits_multiplies_by_the_weights_that_they_stand_for() -> None:
    layer = quantizer("int4_weight", group=32).converted(linear(128, 32))
    assert isinstance(layer, Int4Linear)
    inputs = torch.randn(3, 5, 128, generator=torch.Generator().manual_seed(1))
    expected = nn.functional.linear(inputs, layer.quantized().dense(), layer.bias)
    assert layer(inputs).shape == (3, 5, 32)
    assert (layer(inputs) - expected).abs().max() <= 2e-2  # the kernel rounds to bfloat16 inside, on processors that have it


@pytest.mark.parametrize("name", CPU_SCHEMES)
def test_converting_again_gives_the_same_bytes(name: str) -> None:
    once, again = (tensors_of(quantizer(name).converted(linear(), (0.1, 128))) for _ in range(2))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[one], again[one]) for one in once)


@pytest.mark.parametrize("name", CPU_SCHEMES)
def test_the_layer_given_stays_as_it_was(name: str) -> None:
    layer, like = linear(), linear()
    quantizer(name).converted(layer, (0.1, 128))
    assert torch.equal(layer.weight, like.weight)
    assert type(layer.weight.data) is torch.Tensor


@pytest.mark.parametrize("name", CPU_SCHEMES)
def test_its_outputs_come_near_those_in_floating_point(name: str) -> None:
    layer = linear(64, 32)
    inputs = torch.randn(200, 64, generator=torch.Generator().manual_seed(1))
    spread = float(inputs.max() - inputs.min()) / 255
    found = quantizer(name).converted(layer, (spread, round(-float(inputs.min()) / spread)))(inputs)
    expected = layer(inputs)
    error = float((found - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt())
    assert 1e-4 < error < (0.15 if "int4" in name else 0.03)


@pytest.mark.parametrize(("kernel", "stride", "padding", "groups"), [(3, 1, 1, 1), (1, 2, 0, 1), (3, 2, 1, 4)])
def test_a_static_convolution_comes_near_the_one_it_replaces(kernel: int, stride: int, padding: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 12, kernel, stride, padding, groups=groups).requires_grad_(False)
    inputs = torch.randn(2, 8, 9, 7)
    spread = float(inputs.max() - inputs.min()) / 255
    twin = quantizer("int8_static").converted(layer, (spread, round(-float(inputs.min()) / spread)))
    assert isinstance(twin, StaticConv2d)
    expected = layer(inputs)
    assert twin(inputs).shape == expected.shape
    assert float((twin(inputs) - expected).pow(2).mean() / expected.pow(2).mean()) < 0.02**2


def test_ranges_are_those_of_the_examples() -> None:
    static = quantizer("int8_static")
    model = nn.Sequential(linear(4, 4), nn.ReLU(), linear(4, 2))
    batch = torch.tensor([[-1.0, 0, 1, 3], [0.5, 2, -0.5, 1]])
    calibration = Calibration([(batch, torch.zeros(2))], lambda out, target: out.sum(), lambda module, inputs: module(inputs))
    ranges = static.observe(model, ["0", "2"], calibration)  # pyright: ignore[reportAttributeAccessIssue]
    scale, zero = ranges["0"]
    assert scale == pytest.approx(4 / 255, rel=0.05)
    assert zero == round(1 / scale)
    assert ranges["2"][1] == 0, "behind a rectifier nothing is below zero"


def test_a_meta_layer_becomes_one_of_the_same_tensors() -> None:
    for name in CPU_SCHEMES:
        real = tensors_of(quantizer(name).converted(linear(), (0.1, 128)))
        with torch.device("meta"):
            shell = quantizer(name).converted(nn.Linear(64, 32))
        from thrifty.layers.flat import flattened

        like = flattened(shell.state_dict(keep_vars=True))
        assert {key: (one.shape, one.dtype) for key, one in real.items()} == {
            key: (one.shape, one.dtype) for key, one in like.items()
        }, name


def test_rounding_while_training_lets_gradients_pass(tmp_path: Path) -> None:
    layer = nn.Linear(64, 16)
    model = nn.Sequential(layer)
    plain_output = model(torch.ones(2, 64))
    rounding.attach(model, ["0"], quantizer("qat_int4").rounded, inputs=False)
    rounded_output = model(torch.ones(2, 64))
    assert not torch.equal(plain_output, rounded_output)
    rounded_output.sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, torch.full_like(layer.weight, 2.0)), "as if nothing was rounded"
    rounding.detach(model, ["0"])
    assert torch.equal(model(torch.ones(2, 64)), plain_output)


@pytest.mark.parametrize("name", ["qat_int8", "qat_int4"])
def test_training_sees_the_weights_that_converting_gives(name: str) -> None:
    scheme, layer = quantizer(name), linear(128, 32)
    found = quantized(scheme.converted(layer))
    assert found is not None
    assert (scheme.rounded(layer.weight) - found.dense()).abs().max() <= 1e-5 + float(found.scale.max()) * 1e-3


def test_static_layers_keep_what_others_ask_of_a_layer() -> None:
    twin = quantizer("int8_static").converted(linear(6, 4), (0.1, 3))
    assert isinstance(twin, StaticLinear)
    assert (twin.in_features, twin.out_features) == (6, 4)


@pytest.mark.parametrize("layer", [StaticLinear(linear(), 0.1, 3), Int4Linear(linear(), 32)])
def test_scales_stay_what_they_are_where_a_model_is_cast(layer: nn.Module) -> None:
    before = {name: one.clone() for name, one in layer.named_buffers()}
    cast = layer.to(torch.bfloat16)
    assert cast.bias is not None
    assert cast.bias.dtype == torch.bfloat16
    for name, one in cast.named_buffers():
        assert one.dtype == before[name].dtype, name
        assert torch.equal(one, before[name]), name
    assert cast.to("meta").scale.device.type == "meta"
