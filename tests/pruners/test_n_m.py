"""n of every m neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thrifty.config.choices.pruners import NM
from thrifty.errors import Unsupported
from thrifty.pruners.n_m import build

PROTECT = ["embeddings", "norms", "biases", "head"]


def config(pattern: str | None, protect: list[str] = PROTECT) -> NM:
    return NM(name="n_m", protect=protect, pattern=pattern)


def model(inputs: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 6), nn.ReLU(), nn.Linear(6, 2))


def test_groups_lie_along_the_inputs() -> None:
    one = model()
    with torch.no_grad():
        one[0].weight[0].copy_(torch.tensor([1.0, -4, 2, 3, -9, 0.1, 0.2, -10]))
    pruner = build(config("2:4"))
    assert pruner.masks(one, 0.5)["0.weight"][0].tolist() == [False, True, False, True, True, False, False, True]
    assert pruner.about[1] == "of every 4 neighbouring weights of an output 2 stay"


def test_of_a_convolution_inputs_and_kernel_are_one_row() -> None:
    one = nn.Sequential(nn.Conv2d(4, 3, 3), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        one[0].weight[1].copy_(torch.arange(36.0).view(4, 3, 3))
    mask = build(config("1:4", [*PROTECT, "1"])).masks(one, 0.75)["0.weight"]
    assert mask[1].flatten().nonzero().flatten().tolist() == list(range(3, 36, 4))


def test_a_size_that_m_does_not_divide_is_told_with_the_way_out() -> None:
    with pytest.raises(Unsupported) as caught:
        build(config("2:4")).masks(model(10), 0.5)
    message = str(caught.value)
    assert "0.weight sums over 10 weights, which 4 does not divide, so 2:4 does not fit" in message
    assert "add 0 to pruner.protect, or give another pruner.pattern" in message
    with pytest.raises(Unsupported, match=r"0.bias is a vector, .* add biases and norms to pruner.protect"):
        build(config("2:4", ["head"])).masks(model(), 0.5)


def test_without_a_pattern_it_is_the_one_nearest_to_the_sparsity() -> None:
    mask = build(config(None)).masks(model(), 0.9)["0.weight"]
    assert (mask.sum(1) == 1).all()  # 1:8
    assert (build(config(None)).masks(model(), 0.5)["0.weight"].unflatten(1, (2, 4)).sum(2) == 2).all()


@pytest.mark.parametrize("sparsity", [0.3, 0.33])
def test_a_sparsity_that_the_pattern_was_chosen_for_gets_all_of_it(sparsity: float) -> None:
    mask = build(config("11:16")).masks(model(32), sparsity)["0.weight"]  # of 0.3125
    assert (mask.unflatten(1, (2, 16)).sum(2) == 11).all()


def test_on_the_way_the_smallest_of_what_will_go_go_first() -> None:
    one = model()
    pruner = build(config("2:4"))
    masks = pruner.masks(one, 0.25)
    assert int((~masks["0.weight"]).sum()) == 12
    assert (masks["0.weight"].unflatten(1, (2, 4)).sum(2) >= 2).all()
    final = pruner.masks(one, 0.5)["0.weight"]
    assert not (final & ~masks["0.weight"]).any()
    size = one[0].weight.detach().abs()
    assert size[~masks["0.weight"]].max() <= size[masks["0.weight"] & ~final].min()
    pruner.masks(one, 0.25)
    assert pruner.about[1] == "on the way to 2 of every 4 neighbouring weights of an output"
    assert pruner.masks(one, 0.0)["0.weight"].all()
