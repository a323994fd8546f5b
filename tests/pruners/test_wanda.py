"""Sizes times the norms of inputs, and the norms by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.config.choices.pruners import Pruner
from thrifty.errors import BadConfiguration, BadData, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.activations import input_norms
from thrifty.pruners.wanda import build

PROTECT = ["embeddings", "norms", "biases", "head"]


def calibration(*batches: Tensor, forward: Any = lambda model, inputs: model(inputs)) -> Calibration:
    return Calibration([(one, torch.zeros(len(one))) for one in batches], lambda outputs, _: outputs.mean(), forward)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def norms_of(layer: nn.Module, *batches: Tensor, **given: Any) -> Tensor:
    return input_norms(layer, {"it": layer}, calibration(*batches, **given))["it"]


def test_of_a_linear_layer_over_examples_and_positions() -> None:
    layer = nn.Linear(2, 3)
    one = torch.tensor([[[3.0, 0.0], [4.0, 1.0]], [[0.0, 2.0], [0.0, 2.0]]])
    assert norms_of(layer, one).tolist() == [5.0, 3.0]
    assert norms_of(layer, one[:1], one[1:]).tolist() == [5.0, 3.0]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": 2, "dilation": 2},
        {"padding": 1, "stride": (2, 1)},
    ],
)
def test_of_a_convolution_over_the_patches_it_meets(options: dict[str, Any]) -> None:
    images = drawn(5, 3, 7, 6)
    patches = F.unfold(images, 3, **options)  # (batch, channels * kernel, places)
    expected = patches.square().sum((0, 2)).sqrt().view(1, 3, 3, 3).expand(4, 3, 3, 3)
    torch.testing.assert_close(norms_of(nn.Conv2d(3, 4, 3, **options), images[:2], images[2:]), expected)


def test_of_grouped_circular_and_other_dimensions() -> None:
    images = drawn(5, 4, 6, 6)
    grouped = norms_of(nn.Conv2d(4, 6, 3, groups=2), images)
    whole = norms_of(nn.Conv2d(4, 1, 3), images)[0]
    assert grouped.shape == (6, 2, 3, 3)
    torch.testing.assert_close(grouped[0], whole[:2])
    torch.testing.assert_close(grouped[2], whole[:2])
    torch.testing.assert_close(grouped[3], whole[2:])
    # Around a circle every place of the kernel meets every pixel.
    around = norms_of(nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"), images)
    torch.testing.assert_close(around[1, :, 0, 2], images.square().sum((0, 2, 3)).sqrt())
    line = norms_of(nn.Conv1d(2, 3, 1), drawn(5, 2, 9))
    torch.testing.assert_close(line[2, :, 0], drawn(5, 2, 9).square().sum((0, 2)).sqrt())
    assert norms_of(nn.Conv3d(2, 3, 2), drawn(1, 2, 4, 4, 4)).shape == (3, 2, 2, 2, 2)


def test_a_layer_called_twice_adds_up_and_sizes_may_differ() -> None:
    layer = nn.Conv2d(1, 1, 1)
    assert norms_of(layer, torch.full((1, 1, 2, 2), 2.0), torch.full((1, 1, 3, 1), 3.0)).item() == pytest.approx(43**0.5)
    twice = calibration(torch.ones(9, 2), forward=lambda model, inputs: model(inputs) + model(input=2 * inputs))
    assert input_norms(one := nn.Linear(2, 2), {"it": one}, twice)["it"].tolist() == pytest.approx([45**0.5] * 2)


def test_sums_in_float32_whatever_the_run_computes_in() -> None:
    layer = nn.Linear(1, 1).to(torch.bfloat16)
    norm = norms_of(layer, torch.ones(5000, 1, dtype=torch.bfloat16))  # a bfloat16 sum stops at 256
    assert norm.dtype is torch.float32
    assert norm.item() == pytest.approx(5000**0.5)
    half = norms_of(nn.Linear(1, 1).half(), torch.full((8, 1), 300.0, dtype=torch.float16))
    assert half.item() == pytest.approx(300 * 8**0.5)

    def autocast(model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(inputs)

    assert norms_of(nn.Linear(1, 1), torch.ones(5000, 1), forward=autocast).item() == pytest.approx(5000**0.5)


def test_inference_mode_does_no_harm() -> None:
    def inference(model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(inputs)

    images = drawn(8, 2, 5, 5)
    plain = norms_of(nn.Conv2d(2, 2, 3), images)
    torch.testing.assert_close(norms_of(nn.Conv2d(2, 2, 3), images, forward=inference), plain)


def test_hooks_and_modes_are_as_they_were_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2).eval(), nn.Dropout())

    def fails(module: nn.Module, inputs: Tensor) -> Tensor:
        module(inputs)
        assert not module.training
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        input_norms(model, {"0": model[0]}, calibration(torch.ones(8, 2), forward=fails))
    assert not model[0]._forward_pre_hooks
    assert [one.training for one in model.modules()] == [True, True, False, True]


def test_a_layer_that_is_never_called_is_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    assert input_norms(model, {"it": nn.Linear(2, 2)}, calibration(torch.ones(8, 2))) == {}


def model() -> nn.Sequential:
    one = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2))
    with torch.no_grad():
        one[0].weight.copy_(torch.tensor([[1.0, 2, 3, 4], [0.4, -0.3, 0.2, -0.1]]))
    return one


def test_small_weights_of_large_inputs_stay() -> None:
    inputs = torch.tensor([[10.0, 1.0, 1.0, 1.0]]).repeat(8, 1)
    pruner = build(Pruner(name="wanda", protect=PROTECT))
    masks = pruner.masks(model(), 0.5, calibration(inputs))
    # |w| * norm / sqrt(8): 10 2 3 4, and 4 0.3 0.2 0.1; two of each row go.
    assert masks["0.weight"].tolist() == [[True, False, False, True], [True, True, False, False]]
    assert pruner.about[1] == "inputs of layers measured on 8 examples"


@pytest.mark.parametrize("examples", [None, 7])
def test_too_few_examples(examples: int | None) -> None:
    given = None if examples is None else calibration(torch.ones(examples, 4))
    with pytest.raises(BadConfiguration, match=f"^method.calibration: .* {examples or 0} examples are too few .* at least 8"):
        build(Pruner(name="wanda", protect=PROTECT)).masks(model(), 0.5, given)


def test_activations_that_are_no_numbers() -> None:
    with pytest.raises(BadData, match=r"^0.weight: .*not a number"):
        build(Pruner(name="wanda", protect=PROTECT)).masks(model(), 0.5, calibration(torch.full((8, 4), float("inf"))))


class Shared(nn.Module):
    def __init__(self, *, calls_b: bool) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 1)
        if calls_b:
            self.b.weight = self.a.weight
        self.calls_b = calls_b

    def forward(self, inputs: Tensor) -> Tensor:
        first = self.a(inputs[:, :2])
        return self.head(first + self.b(inputs[:, 2:]) if self.calls_b else first)


def test_a_tied_weight_is_scored_by_the_inputs_of_both_layers() -> None:
    one = Shared(calls_b=True)
    with torch.no_grad():
        one.a.weight.copy_(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    # Inputs are 1 1 to a, and 3 0 to b: by a alone 1 2 and 2 1, by both about 3.2 2 and 6.3 1.
    masks = build(Pruner(name="wanda", protect=PROTECT)).masks(one, 0.5, calibration(torch.tensor([[1.0, 1, 3, 0]] * 8)))
    assert masks["a.weight"].tolist() == [[True, False], [True, False]]


def test_a_layer_that_the_model_does_not_call() -> None:
    with pytest.raises(Unsupported, match=r"without calling the layer of b.weight, .* add b to pruner.protect"):
        build(Pruner(name="wanda", protect=PROTECT)).masks(Shared(calls_b=False), 0.5, calibration(torch.ones(8, 4)))
