"""The vision transformer as published: parameter counts, patches by image size, and every product of the forward pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from chosen import chosen
from thrifty.architectures import vit
from thrifty.architectures.vit import Patches, patch_for
from thrifty.config.key import check
from thrifty.errors import BadConfiguration


def _model(height: int = 5, width: int = 8, patch: int | None = None) -> nn.Module:
    """Two blocks of width 128, for images of two channels and seven classes."""
    config = chosen("architecture=vit", width=128, depth=2, patch=patch)
    return vit.build(config, {"channels": 2, "height": height, "width": width, "outputs": 7}, 0.0)


@pytest.mark.parametrize(("width", "depth", "published"), [(768, 12, 86_567_656), (1024, 24, 304_326_632)])
def test_it_has_as_many_parameters_as_published_less_those_of_the_class_token(width: int, depth: int, published: int) -> None:
    config = chosen("architecture=vit", width=width, depth=depth)
    with torch.device("meta"):
        model = vit.build(config, {"channels": 3, "height": 224, "width": 224, "outputs": 1000}, 0.0)
    assert sum(one.numel() for one in model.parameters()) == published - 2 * width  # the token and its position


# -- patches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "patch", "count"),
    [
        (1, 1, 1, 1), (4, 4, 2, 4), (8, 8, 2, 16), (16, 16, 4, 16), (28, 28, 4, 49), (32, 32, 4, 64), (64, 64, 8, 64),
        (96, 96, 8, 144), (128, 128, 16, 64), (224, 224, 16, 196), (256, 256, 32, 64), (17, 23, 4, 30), (1, 1000, 8, 125),
    ],
)  # fmt: skip
def test_the_patch_follows_from_the_size_of_the_image(height: int, width: int, patch: int, count: int) -> None:
    assert patch_for(height, width) == patch
    assert Patches(patch, height, width).count == count


def test_patches_go_row_by_row_and_what_is_missing_is_zero() -> None:
    image = torch.arange(1.0, 1 + 2 * 3 * 5).view(1, 2, 3, 5)
    found = Patches(2, 3, 5)(image)
    assert found.shape == (1, 6, 8)
    # of the first channel:  1  2  3  4  5   of the second: 16 17 18 19 20
    #                        6  7  8  9 10                  21 22 23 24 25
    #                       11 12 13 14 15                  26 27 28 29 30
    assert found[0].tolist() == [
        [1, 2, 6, 7, 16, 17, 21, 22],
        [3, 4, 8, 9, 18, 19, 23, 24],
        [5, 0, 10, 0, 20, 0, 25, 0],
        [11, 12, 0, 0, 26, 27, 0, 0],
        [13, 14, 0, 0, 28, 29, 0, 0],
        [15, 0, 0, 0, 30, 0, 0, 0],
    ]


def test_a_patch_given_is_taken_up_to_the_size_of_the_image() -> None:
    assert _model(patch=8).get_parameter("positions.weight").shape == (1, 128)
    assert _model(patch=1).get_parameter("positions.weight").shape == (40, 128)
    with pytest.raises(BadConfiguration) as caught:
        _model(patch=9)
    assert str(caught.value) == "architecture.patch=9: is larger than the images, 5x8; give at most 8, or leave it out for 2"


def test_a_width_that_makes_no_whole_heads_is_refused() -> None:
    with pytest.raises(BadConfiguration, match=r"^architecture\.width=100: must be a multiple of 64.*; the nearest is 128$"):
        check(chosen("architecture=vit", width=100), "architecture.")


# -- what it computes ---------------------------------------------------------------------------------------------------


def _by_hand(model: nn.Module, patches: Tensor, width: int, depth: int) -> Tensor:
    """The published network written out for the patches of one image, every head by itself."""
    weights = dict(model.state_dict())

    def norm(values: Tensor, name: str) -> Tensor:
        centred = values - values.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(values: Tensor, name: str) -> Tensor:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def gelu(values: Tensor) -> Tensor:
        return 0.5 * values * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))

    stream = linear(patches, "embedding") + weights["positions.weight"]
    for number in range(depth):
        block = f"blocks.{number}"
        query, key, value = linear(norm(stream, f"{block}.attention_norm"), f"{block}.attention.qkv").split(width, dim=-1)
        mixed = torch.zeros_like(stream)
        for head in range(width // 64):
            own = slice(64 * head, 64 * head + 64)
            mixed[:, own] = torch.softmax(query[:, own] @ key[:, own].T / math.sqrt(64), -1) @ value[:, own]
        stream = stream + linear(mixed, f"{block}.attention.projection")
        inner = gelu(linear(norm(stream, f"{block}.feed_forward_norm"), f"{block}.feed_forward.expansion"))
        stream = stream + linear(inner, f"{block}.feed_forward.projection")
    return linear(norm(stream, "norm").mean(0), "head")


def test_the_forward_pass_is_the_paper_s_written_out() -> None:
    torch.manual_seed(0)
    model = _model().double()
    for one in model.parameters():  # initial biases are 0 and scales 1: make each of them tell
        one.data.add_(torch.randn_like(one) * 0.1)
    images = torch.randn(2, 2, 5, 8, dtype=torch.float64)
    outputs = model(images)
    for row in range(2):
        patches = Patches(2, 5, 8)(images[row : row + 1])[0]
        torch.testing.assert_close(outputs[row], _by_hand(model, patches, width=128, depth=2))


def test_it_can_tell_where_a_patch_lies() -> None:
    torch.manual_seed(0)
    model = _model(height=4, width=4).eval()
    image = torch.randn(1, 2, 4, 4)
    turned = image.flip(2, 3).unflatten(2, (2, 2)).unflatten(4, (2, 2)).flip(3, 5).flatten(4).flatten(2, 3)
    before, after = Patches(2, 4, 4)(image), Patches(2, 4, 4)(turned)
    assert torch.equal(before.flip(1), after)  # the same patches in another order
    assert (model(image) - model(turned)).abs().max() > 1e-6


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^images of \(2, 8, 5\): the model takes \(2, 5, 8\) \(channels, height, width\)$"):
        _model()(torch.zeros(1, 2, 8, 5))


def test_initial_weights_keep_the_size_of_what_comes_in() -> None:
    torch.manual_seed(0)
    config = chosen("architecture=vit", width=256, depth=8, patch=8)
    model = vit.build(config, {"channels": 3, "height": 128, "width": 128, "outputs": 256}, 0.0)
    for name, one in model.named_parameters():
        if one.ndim >= 2:
            expected = one.shape[1] ** -0.5 / (math.sqrt(16) if "projection" in name else 1)
            expected = 1.0 if name == "positions.weight" else expected
            assert one.std().item() == pytest.approx(expected, rel=0.02), name
            assert abs(one.mean().item()) < 5 * expected / math.sqrt(one.numel()), name
        else:
            assert torch.all(one == (1 if "norm.weight" in name else 0)), name
