"""Operations counted against formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from chosen import chosen
from thrifty.config.registry import load
from thrifty.measure.flops import forward_flops, training_flops

VOCABULARY = 256


def _gpt(width: int, depth: int, time: int) -> tuple[Callable[[], nn.Module], Tensor]:
    config, shape = chosen("architecture=gpt", width=width, depth=depth), {"vocabulary": VOCABULARY, "context": time}
    return lambda: load("architecture", "gpt")(config, shape, 0.1), torch.zeros(1, time, dtype=torch.int64)


@pytest.mark.parametrize(("width", "depth", "time"), [(128, 4, 128), (64, 1, 7), (1600, 48, 128)])
def test_gpt_takes_two_for_each_weight_and_token_and_its_attention(width: int, depth: int, time: int) -> None:
    build, inputs = _gpt(width, depth, time)
    weights = 12 * width * width * depth + VOCABULARY * width
    expected = 2 * weights * time + 4 * time * time * width * depth
    assert forward_flops(build, inputs) == expected
    # Every product's both sides want a gradient: the embedding is looked up, not multiplied.
    assert training_flops(build, inputs) == 3 * expected


def test_mlp_takes_two_for_each_weight_and_no_gradient_of_its_inputs() -> None:
    def build() -> nn.Module:
        return load("architecture", "mlp")(chosen("architecture=mlp", widths=[128, 64, 32]), {"inputs": 30, "outputs": 1}, 0.0)

    forward = 2 * (30 * 128 + 128 * 64 + 64 * 32 + 32 * 1)
    assert forward_flops(build, torch.zeros(1, 30)) == forward
    assert training_flops(build, torch.zeros(1, 30)) == 3 * forward - 2 * 30 * 128


def test_vit_takes_what_gpt_does_of_its_patches_and_no_gradient_of_the_image() -> None:
    shape = {"channels": 1, "height": 28, "width": 27, "outputs": 10}
    config = chosen("architecture=vit", width=128, depth=3, patch=4)

    def build() -> nn.Module:
        return load("architecture", "vit")(config, shape, 0.1)

    patches, pixels = 7 * 7, 4 * 4  # the last column of patches is of 3 pixels and one of padding
    embedding = 2 * patches * pixels * 128
    blocks = 2 * patches * 12 * 128 * 128 * 3 + 4 * patches * patches * 128 * 3
    forward = embedding + blocks + 2 * 128 * 10
    images = torch.zeros(1, 1, 28, 27)
    assert forward_flops(build, images) == forward
    assert training_flops(build, images) == 3 * forward - embedding


def test_resnet_takes_two_for_each_weight_and_pixel_and_no_gradient_of_the_image() -> None:
    shape = {"channels": 3, "height": 8, "width": 8, "outputs": 10}

    def build() -> nn.Module:
        return load("architecture", "resnet")(chosen("architecture=resnet", depth=8), shape, 0.1)

    stem = 2 * 64 * 9 * 3 * 16
    stages = 2 * (
        64 * 9 * 16 * 16 * 2
        + 16 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)  # 4x4 pixels; the last of each is the shortcut
        + 4 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    )
    forward = stem + stages + 2 * 64 * 10
    images = torch.zeros(1, 3, 8, 8)
    assert forward_flops(build, images) == forward
    assert training_flops(build, images) == 3 * forward - stem


@pytest.mark.parametrize(("depth", "products"), [(18, 1.81e9), (50, 4.09e9), (101, 7.80e9), (152, 11.51e9)])
def test_resnets_take_as_many_products_of_an_imagenet_picture_as_torchvision_says(depth: int, products: float) -> None:
    shape = {"channels": 3, "height": 224, "width": 224, "outputs": 1000}
    config = chosen("architecture=resnet", depth=depth)
    found = forward_flops(lambda: load("architecture", "resnet")(config, shape, 0.0), torch.zeros(1, 3, 224, 224))
    assert found / 2 == pytest.approx(products, abs=0.005e9)


def test_it_grows_with_the_batch_and_asks_neither_dtype_nor_randomness() -> None:
    build, inputs = _gpt(64, 2, 16)
    state = torch.get_rng_state()
    one = training_flops(build, inputs)
    assert training_flops(build, inputs.repeat(3, 1)) == 3 * one
    assert training_flops(lambda: build().to(torch.bfloat16), inputs) == one
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_counted_has_not_been_computed() -> None:
    devices = set()

    class Spy(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            devices.add((input.device.type, self.weight.device.type))
            return super().forward(input)

    assert forward_flops(lambda: Spy(3, 2), torch.zeros(1, 3)) == 12
    assert devices == {("meta", "meta")}
