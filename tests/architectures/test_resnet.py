"""Residual networks as published: parameter counts, sizes of images on their way, and every operation of the forward pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chosen import chosen
from thrifty.architectures import resnet
from thrifty.config.choices.architectures import Resnet
from thrifty.config.key import check
from thrifty.errors import BadConfiguration


def _model(depth: int, channels: int = 2, height: int = 8, width: int = 8, outputs: int = 7) -> nn.Module:
    shape = {"channels": channels, "height": height, "width": width, "outputs": outputs}
    return resnet.build(chosen("architecture=resnet", depth=depth), shape, 0.0)


def _on_meta(depth: int, channels: int, height: int, width: int, outputs: int = 7) -> nn.Module:
    with torch.device("meta"):
        return _model(depth, channels, height, width, outputs)


# -- sizes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [
        (18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808),
        (200, 60_192_808 + 16 * (512 * 128 + 9 * 128 * 128 + 128 * 512 + 2 * (128 + 128 + 512))),  # 16 blocks more in a stage
    ],
)  # fmt: skip
def test_it_has_as_many_parameters_as_published_for_imagenet(depth: int, parameters: int) -> None:
    model = _on_meta(depth, 3, 224, 224, outputs=1000)
    assert sum(one.numel() for one in model.parameters()) == parameters


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_it_has_as_many_parameters_as_published_for_cifar(depth: int, millions: float) -> None:
    model = _on_meta(depth, 3, 32, 32, outputs=10)
    shortcuts = sum(one.numel() for name, one in model.named_parameters() if "shortcut" in name)
    assert shortcuts == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # which the paper's have none of
    assert sum(one.numel() for one in model.parameters()) - shortcuts == pytest.approx(millions * 1e6, rel=0.02)


def test_a_depth_is_the_number_of_layers_with_weights() -> None:
    assert set(resnet.PLANS) == {*Resnet.NARROW, *Resnet.WIDE}
    for depth in resnet.PLANS:
        layers = [name for name, one in _on_meta(depth, 3, 32, 32).named_modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
        assert len([name for name in layers if "shortcut" not in name]) == depth


def test_the_channels_that_the_learning_rate_follows_are_the_last_stage_s() -> None:
    for depth in resnet.PLANS:
        head = _on_meta(depth, 3, 32, 32).get_parameter("head.weight")
        assert head.shape == (7, Resnet.WIDE.get(depth, 64))


@pytest.mark.parametrize(
    ("depth", "image", "sides"),
    [
        (8, (8, 8), [(8, 8), (4, 4), (2, 2)]),
        (20, (32, 32), [(32, 32), (16, 16), (8, 8)]),
        (8, (17, 23), [(17, 23), (9, 12), (5, 6)]),
        (8, (224, 224), [(224, 224), (112, 112), (56, 56)]),
        (18, (8, 8), [(8, 8), (4, 4), (2, 2), (2, 2)]),
        (18, (28, 28), [(28, 28), (14, 14), (7, 7), (4, 4)]),
        (50, (32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        (18, (1, 9), [(1, 9), (1, 5), (1, 3), (1, 3)]),
        (18, (3, 8), [(3, 8), (3, 4), (3, 2), (3, 2)]),
        (18, (2, 2), [(2, 2)] * 4),
        (18, (63, 100), [(63, 100), (32, 50), (16, 25), (8, 13)]),
        (18, (64, 100), [(16, 25), (8, 13), (4, 7), (2, 4)]),
        (50, (224, 224), [(56, 56), (28, 28), (14, 14), (7, 7)]),
        (18, (65, 67), [(17, 17), (9, 9), (5, 5), (3, 3)]),
    ],
)
def test_stages_halve_a_side_while_two_pixels_are_left(
    depth: int, image: tuple[int, int], sides: list[tuple[int, int]]
) -> None:
    model = _on_meta(depth, 3, *image)
    found = []
    for stage in model.get_submodule("stages").children():
        stage.register_forward_hook(lambda module, inputs, outputs: found.append(tuple(outputs.shape[2:])))
    model(torch.zeros(2, 3, *image, device="meta"))
    assert found == sides


@pytest.mark.parametrize(("depth", "image"), [(8, (8, 8)), (18, (8, 8)), (18, (2, 1)), (50, (4, 4))])
def test_a_batch_of_one_has_something_to_be_normalised_by(depth: int, image: tuple[int, int]) -> None:
    torch.manual_seed(0)
    assert _model(depth, 1, *image).train()(torch.randn(1, 1, *image)).isfinite().all()


def test_images_of_one_pixel_are_refused() -> None:
    with pytest.raises(BadConfiguration) as caught:
        _model(8, 3, 1, 1)
    assert str(caught.value) == (
        "architecture=resnet: the images are of a single pixel, where there is nothing to convolve; take architecture=mlp"
    )


@pytest.mark.parametrize(("depth", "near"), [(9, 8), (26, 20), (1000, 200), (0, 8), (-1, 8)])
def test_a_depth_of_no_published_network_is_refused(depth: int, near: int) -> None:
    with pytest.raises(BadConfiguration) as caught:
        check(chosen("architecture=resnet", depth=depth), "architecture.")
    assert str(caught.value) == (
        f"architecture.depth={depth}: must be one of 8, 14, 18, 20, 32, 34, 44, 50, 56, 101, 110, 152, 200; the nearest is {near}"
    )


# -- what it computes ---------------------------------------------------------------------------------------------------


class _ByHand:
    """A network written out from its weights, in evaluation mode or in training mode."""

    def __init__(self, model: nn.Module, training: bool) -> None:
        self.weights, self.training = dict(model.state_dict()), training
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}
        """Mean and unbiased variance of what each norm saw."""

    def norm(self, values: Tensor, name: str) -> Tensor:
        mean, variance = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        if self.training:
            columns = values.transpose(0, 1).flatten(1)
            mean, variance = columns.mean(1), columns.var(1, correction=0)
            self.seen[name] = mean, columns.var(1)
        scale, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        mean, variance, scale, bias = (one.view(1, -1, 1, 1) for one in (mean, variance, scale, bias))
        return (values - mean) / (variance + 1e-5).sqrt() * scale + bias

    def convolution(self, values: Tensor, name: str, stride: int) -> Tensor:
        """A product of each output pixel's neighbourhood, gathered pixel by pixel, with the weights."""
        weight = self.weights[f"{name}.weight"]
        kernel = weight.shape[-1]
        around = F.pad(values, (kernel // 2,) * 4)
        rows = [
            [
                torch.einsum("bchw,ochw->bo", around[:, :, y : y + kernel, x : x + kernel], weight)
                for x in range(0, values.shape[3], stride)
            ]
            for y in range(0, values.shape[2], stride)
        ]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    def block(self, values: Tensor, name: str, convolutions: int, strided: int, stride: int) -> Tensor:
        branch = values
        for number in range(1, convolutions + 1):
            branch = self.convolution(branch, f"{name}.conv{number}", stride if number == strided else 1)
            branch = self.norm(branch, f"{name}.norm{number}")
            branch = branch.clamp(min=0) if number < convolutions else branch
        if f"{name}.shortcut.0.weight" in self.weights:
            values = self.norm(self.convolution(values, f"{name}.shortcut.0", stride), f"{name}.shortcut.1")
        return (branch + values).clamp(min=0)

    def __call__(self, images: Tensor, blocks: tuple[int, ...], convolutions: int, strided: int) -> Tensor:
        features = self.norm(self.convolution(images, "stem.conv", 1), "stem.norm").clamp(min=0)
        for stage, count in enumerate(blocks):
            stride = 2 if stage > 0 and features.shape[-1] >= 4 else 1
            for place in range(count):
                name = f"stages.{stage}.{place}"
                features = self.block(features, name, convolutions, strided, stride if place == 0 else 1)
        return features.mean((2, 3)) @ self.weights["head.weight"].T + self.weights["head.bias"]


CASES = [
    (14, 6, (2, 2, 2), 2, 1),  # basic blocks, of which the first halves in its first convolution
    (50, 4, (3, 4, 6, 3), 3, 2),  # bottlenecks, in their 3x3
]


def _telling(depth: int, side: int) -> nn.Module:
    """In double precision, with every weight and running statistic of its own."""
    torch.manual_seed(0)
    model = _model(depth, 2, side, side).double()
    for name, one in model.state_dict().items():
        if name.endswith("running_var"):
            one.add_(torch.rand_like(one))
        elif one.is_floating_point() and one.ndim == 1:
            one.add_(torch.randn_like(one) * 0.1)
    return model


@pytest.mark.parametrize(("depth", "side", "blocks", "convolutions", "strided"), CASES)
def test_a_prediction_is_the_paper_s_written_out_with_the_running_statistics(
    depth: int, side: int, blocks: tuple[int, ...], convolutions: int, strided: int
) -> None:
    model = _telling(depth, side).eval()
    images = torch.randn(2, 2, side, side, dtype=torch.float64)
    torch.testing.assert_close(model(images), _ByHand(model, training=False)(images, blocks, convolutions, strided))


@pytest.mark.parametrize(("depth", "side", "blocks", "convolutions", "strided"), CASES)
def test_training_normalises_by_the_batch_and_remembers_a_tenth_of_it(
    depth: int, side: int, blocks: tuple[int, ...], convolutions: int, strided: int
) -> None:
    model = _telling(depth, side).train()
    images = torch.randn(2, 2, side, side, dtype=torch.float64)
    hand = _ByHand(model, training=True)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    expected = hand(images, blocks, convolutions, strided)
    torch.testing.assert_close(model(images), expected)
    after = model.state_dict()
    assert {f"{name}.num_batches_tracked" for name in hand.seen} == {name for name in after if name.endswith("tracked")}
    for name, (mean, variance) in hand.seen.items():
        torch.testing.assert_close(after[f"{name}.running_mean"], 0.9 * before[f"{name}.running_mean"] + 0.1 * mean)
        torch.testing.assert_close(after[f"{name}.running_var"], 0.9 * before[f"{name}.running_var"] + 0.1 * variance)
        assert int(after[f"{name}.num_batches_tracked"]) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_memory_format_chosen_holds_between_layers_and_changes_no_number(channels: int) -> None:
    images, found, outputs = torch.randn(2, channels, 8, 8), {}, []
    for name in ("contiguous", "channels_last"):
        torch.manual_seed(0)
        shape = {"channels": channels, "height": 8, "width": 8, "outputs": 7}
        model = resnet.build(chosen("architecture=resnet", depth=8, memory_format=name), shape, 0.0).double()
        strides = found[name] = []
        for module in model.modules():
            if isinstance(module, (resnet.BasicBlock, nn.BatchNorm2d)) and module is not model.get_submodule("stem.norm"):
                module.register_forward_hook(lambda module, inputs, outputs, to=strides: to.append(outputs.stride()[1]))
        outputs.append(model(images.double()))
        assert all(one.is_contiguous() for one in model.state_dict().values())
    assert set(found["channels_last"]) == {1}
    assert 1 not in found["contiguous"]
    torch.testing.assert_close(outputs[0], outputs[1])


def test_initial_weights_are_he_s_and_blocks_add_nothing() -> None:
    torch.manual_seed(0)
    model = _model(18, 3, 32, 32)
    for name, one in model.state_dict().items():
        if one.ndim == 4:
            expected = math.sqrt(2 / (one.shape[0] * one.shape[2] * one.shape[3]))
            assert one.std().item() == pytest.approx(expected, rel=0.05), name
            assert abs(one.mean().item()) < 5 * expected / math.sqrt(one.numel()), name
        elif name == "head.weight":
            assert one.std().item() == pytest.approx(0.01, rel=0.05)
        elif name.endswith(("norm2.weight", "bias", "running_mean", "tracked")):  # norm2 is a basic block's last
            assert not one.any(), name
        else:
            assert torch.all(one == 1), name
    assert not _model(50).get_parameter("stages.3.2.norm3.weight").any()
    assert _model(50).get_parameter("stages.3.2.norm2.weight").all()
    # Blocks whose shortcut is the identity pass on what comes in: it comes out of a rectifier already.
    features = torch.rand(2, 64, 5, 5)
    assert torch.equal(model.get_submodule("stages.0")(features), features)
