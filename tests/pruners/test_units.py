"""Which units go, by numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chosen import chosen
from thrifty.architectures import mlp, resnet
from thrifty.config.choices.pruners import Counted
from thrifty.config.registry import load
from thrifty.errors import BadConfiguration, Diverged, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.units import shrink_units


def two_layers(hidden: list[list[float]], output: list[float]) -> nn.Sequential:
    """2 inputs, 3 hidden neurons, 1 output, without biases."""
    model = nn.Sequential()
    model.add_module("hidden", nn.Linear(2, 3, bias=False))
    model.add_module("output", nn.Linear(3, 1, bias=False))
    model.get_parameter("hidden.weight").data = torch.tensor(hidden)
    model.get_parameter("output.weight").data = torch.tensor([output])
    return model


def of(examples: int) -> Calibration:
    """Every input 1, and as loss the mean output."""
    batches = [(torch.ones(examples // 2, 2), torch.zeros(examples // 2))] * 2
    return Calibration(batches, lambda outputs, _: outputs.mean(), lambda model, inputs: model(inputs))


def left_of(
    model: nn.Module, pruner: str, sparsity: float, calibration: Calibration | None = None, **changes: Any
) -> list[Any]:
    made = load("pruner", pruner)(chosen(f"pruner={pruner}", **changes))
    return made.shrink(model, sparsity, torch.ones(2, 2), calibration).get_parameter("hidden.weight").tolist()


def test_l1_takes_sizes_in_terms_of_their_layers_mean() -> None:
    """Means 2 and 3: the neurons are (.5 + .5 + 2) / 3 = 1, (1 + 1 + 1/3) / 3 = .78 and (1.5 + 1.5 + 2/3) / 3 = 1.22."""
    model = two_layers([[1.0, -1.0], [2.0, 2.0], [3.0, 3.0]], [6.0, 1.0, -2.0])
    assert left_of(model, "structured_l1", 1 / 3) == [[1.0, -1.0], [3.0, 3.0]]
    assert left_of(model, "structured_l1", 2 / 3) == [[3.0, 3.0]]


def test_taylor_takes_weights_times_gradients() -> None:
    """|w g| summed: 1.5 + 1.5 + 0 = 3, 4 + 4 + 8 = 16, 2 + 2 + 4 = 8, as an output weight's gradient is its neuron's output."""
    model = two_layers([[3.0, -3.0], [1.0, 1.0], [2.0, 2.0]], [0.5, 4.0, 1.0])
    assert left_of(model, "structured_taylor", 1 / 3, of(8)) == [[1.0, 1.0], [2.0, 2.0]]
    assert left_of(model, "structured_taylor", 2 / 3, of(8)) == [[1.0, 1.0]]
    assert left_of(model, "structured_l1", 2 / 3) == [[3.0, -3.0]], "by their sizes it is the other way round"


def test_taylor_weighs_batches_by_their_examples() -> None:
    """6 examples show the first input alone, 2 the second: 2 * (6 * 3) / 8 = 4.5 against 2 * (2 * 5) / 8 = 2.5."""
    model = two_layers([[3.0, 0.0], [0.0, 5.0], [9.0, 9.0]], [1.0] * 3)
    batches = [(torch.tensor([[1.0, 0.0]] * 6), torch.zeros(6)), (torch.tensor([[0.0, 1.0]] * 2), torch.zeros(2))]
    calibration = Calibration(batches, lambda outputs, _: outputs.mean(), lambda module, inputs: module(inputs))
    assert left_of(model, "structured_taylor", 1 / 3, calibration) == [[3.0, 0.0], [9.0, 9.0]]


@pytest.mark.parametrize("calibration", [None, of(6)])
def test_taylor_needs_eight_examples(calibration: Calibration | None) -> None:
    model = two_layers([[1.0, 1.0]] * 3, [1.0] * 3)
    with pytest.raises(BadConfiguration, match=r"^method\.calibration=[06]: are too few examples .*; give 8 or more, or take"):
        left_of(model, "structured_taylor", 1 / 3, calibration)


def test_taylor_refuses_gradients_that_are_no_numbers() -> None:
    model = two_layers([[float("inf"), 1.0]] + [[1.0, 1.0]] * 2, [1.0] * 3)
    with pytest.raises(Diverged, match=r"the gradient of hidden\.weight is infinite"):
        left_of(model, "structured_taylor", 1 / 3, of(8))


def test_taylor_computes_in_the_run_s_way() -> None:
    """The forward pass and the loss are the calibration's: here they turn the order around."""
    model = two_layers([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [1.0] * 3)
    seen = []

    def forward(module: nn.Module, inputs: Tensor) -> Tensor:
        seen.append(torch.is_grad_enabled())
        assert isinstance(module, nn.Sequential)
        return module(inputs) + 10 * F.linear(inputs, module.get_parameter("hidden.weight")[:1])

    calibration = Calibration(of(8).batches, lambda outputs, _: outputs.mean(), forward)
    assert left_of(model, "structured_taylor", 1 / 3, calibration) == [[1.0, 1.0], [3.0, 3.0]]
    assert seen == [True, True]


def test_one_unit_of_each_layer_is_left() -> None:
    model = two_layers([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [1.0] * 3)
    with pytest.raises(Unsupported, match=r"^sparsity=0\.7: of the model's weights at most 0\.666 can be removed"):
        left_of(model, "structured_l1", 0.7)
    assert left_of(model, "structured_l1", 0.666) == [[3.0, 3.0]]


def test_none_goes_where_none_is_nearest() -> None:
    model = two_layers([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [1.0] * 3)
    assert left_of(model, "structured_l1", 0.1) == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_operations_count_what_reads_the_units_as_well() -> None:
    """By hand: 2 (2 * 3 + 3 * 1) = 18 for each example, of which a neuron's are 2 (2 + 1) = 6."""
    made = load("pruner", "structured_l1")(chosen("pruner=structured_l1", counts="flops"))
    made.shrink(two_layers([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]], [1.0] * 3), 0.3, torch.ones(2, 2))
    assert made.about == [
        "removed 1 of 3 neurons and channels",
        "33.33 % of 18 operations are gone, where 30 % were asked for",
    ]


def wide(widths: list[int]) -> nn.Module:
    torch.manual_seed(0)
    return mlp.build(chosen("architecture=mlp", widths=widths), {"inputs": 2, "outputs": 3}, 0.0)


def cut(model: nn.Module, sparsity: float, multiple: int = 1, protect: tuple[str, ...] = ()) -> nn.Module:
    sizes = {name: one.abs() for name, one in model.named_parameters()}
    return shrink_units(model, torch.ones(2, 2), sizes, sparsity, Counted.parameters, multiple, list(protect))[0]


def widths_of(model: nn.Module) -> list[int]:
    return [one.out_features for one in model.modules() if isinstance(one, nn.Linear)]


@pytest.mark.parametrize("sparsity", [0.2, 0.4, 0.6, 0.8])
def test_widths_that_are_left_are_multiples(sparsity: float) -> None:
    first, second, outputs = widths_of(cut(wide([48, 36]), sparsity, multiple=8))
    assert first in range(8, 49, 8)
    assert second in (36, 32, 24, 16, 8)
    assert outputs == 3
    assert (first, second) != (48, 36)


def test_a_layer_narrower_than_the_multiple_stays() -> None:
    assert widths_of(cut(wide([64, 7]), 0.5, multiple=8)) == [32, 7, 3]
    with pytest.raises(Unsupported, match=r"pruner\.multiple=8"):
        cut(wide([8, 7]), 0.5, multiple=8)


@pytest.mark.parametrize(
    ("protect", "left"),
    [("hidden1", [48, 1]), ("hidden2", [1, 36]), ("*2", [1, 36])],
)
def test_protected_layers_keep_their_units(protect: str, left: list[int]) -> None:
    model = wide([48, 36])
    with pytest.raises(Unsupported) as refused:
        cut(model, 0.999, protect=(protect,))
    largest = float(str(refused.value).split("at most ")[1].split()[0])
    assert widths_of(cut(model, largest, protect=(protect,)))[:2] == left


def test_a_protected_layer_does_not_count() -> None:
    """Of hidden2 alone half the weights go, which are half of its outputs as its inputs are those of hidden1."""
    model = wide([48, 36])
    smaller = cut(model, 0.5, protect=("hidden1",))
    assert widths_of(smaller) == [48, 18, 3]


def test_an_entry_of_protect_that_matches_nothing_is_a_slip() -> None:
    with pytest.raises(BadConfiguration, match=r"no layer is called 'hiden1'; did you mean 'hidden1'\?"):
        cut(wide([8, 8]), 0.5, protect=("hiden1",))
    assert widths_of(cut(wide([8, 8]), 0.5, protect=("head", "norms", "embeddings", "biases"))) != [8, 8, 3]


def test_nothing_to_remove() -> None:
    with pytest.raises(Unsupported, match="there are no hidden neurons, channels or heads"):
        cut(wide([8, 8]), 0.5, protect=("*",))


def test_channels_joined_by_shortcuts_go_together() -> None:
    """Stage 2 of depth 14: whatever is added up has the same channels."""
    torch.manual_seed(0)
    model = resnet.build(chosen("architecture=resnet", depth=14), {"channels": 1, "height": 8, "width": 8, "outputs": 3}, 0.0)
    importance = {name: torch.ones_like(one) for name, one in model.named_parameters()}
    joined = ("stages.1.0.conv2", "stages.1.0.shortcut.0", "stages.1.1.conv2")
    read = ("stages.1.1.conv1", "stages.2.0.conv1", "stages.2.0.shortcut.0")
    for name in joined:
        importance[f"{name}.weight"][[5, 7]] = 0
    for name in read:
        importance[f"{name}.weight"][:, [5, 7]] = 0
    images = torch.zeros(2, 1, 8, 8)
    # By hand: two channels of 32 of what is joined and read.
    two = sum(2 * model.get_parameter(f"{name}.weight").numel() // 32 for name in (*joined, *read))
    assert two == 2 * (32 * 9 + 16 + 32 * 9 + 32 * 9 + 64 * 9 + 64)
    whole = sum(one.weight.numel() for one in model.modules() if isinstance(one, nn.Conv2d))
    smaller, _ = shrink_units(model, images, importance, two / whole, Counted.parameters, 1, [])
    kept = [channel for channel in range(32) if channel not in (5, 7)]
    for name in joined:
        assert torch.equal(smaller.get_parameter(f"{name}.weight"), model.get_parameter(f"{name}.weight")[kept])
    for name in read:
        assert torch.equal(smaller.get_parameter(f"{name}.weight"), model.get_parameter(f"{name}.weight")[:, kept])
    for norm in ("stages.1.0.norm2", "stages.1.0.shortcut.1", "stages.1.1.norm2"):
        for part in ("weight", "bias", "running_mean", "running_var"):
            assert smaller.state_dict()[f"{norm}.{part}"].shape == (30,)
