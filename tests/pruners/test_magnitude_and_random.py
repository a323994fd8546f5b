"""The two that need the weights only, by hand."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.pruners import Scope, Scoped
from thrifty.pruners import magnitude, random
from thrifty.pruners.random import RandomPruner

PROTECT = ["embeddings", "norms", "biases", "head"]


def model() -> nn.Sequential:
    one = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    with torch.no_grad():
        one[0].weight.copy_(torch.tensor([[0.1, -0.2], [-0.3, 0.4]]))
        one[1].weight.copy_(torch.tensor([[-5.0, 6.0], [7.0, -0.01]]))
    return one


def config(scope: str, name: str = "magnitude") -> Scoped:
    return Scoped(name=name, protect=PROTECT, scope=Scope[scope])


def test_the_smallest_go_over_all_or_in_each_layer() -> None:
    everywhere = magnitude.build(config("global")).masks(model(), 0.5)
    assert everywhere["0.weight"].tolist() == [[False, False], [False, True]]
    assert everywhere["1.weight"].tolist() == [[True, True], [True, False]]
    each = magnitude.build(config("layer")).masks(model(), 0.5)
    assert each["0.weight"].tolist() == [[False, False], [True, True]]
    assert each["1.weight"].tolist() == [[False, True], [True, False]]


def test_random_is_a_matter_of_the_seed_alone() -> None:
    big = nn.Sequential(nn.Linear(50, 40), nn.Linear(40, 2))
    pruner = random.build(config("layer", "random"))
    assert isinstance(pruner, RandomPruner)
    masks = pruner.masks(big, 0.5)["0.weight"]
    with torch.no_grad():
        big[0].weight.mul_(-3)
    torch.manual_seed(17)
    assert torch.equal(masks, pruner.masks(big, 0.5)["0.weight"])
    pruner.seed = 1
    other = pruner.masks(big, 0.5)["0.weight"]
    # Two halves at random have a quarter in common: 500 of 2000, 11 the deviation.
    assert 440 < int((~masks & ~other).sum()) < 560


def test_random_has_no_eye_for_size() -> None:
    big = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 2))
    size = big[0].weight.detach().abs()
    kept = random.build(config("global", "random")).masks(big, 0.5)["0.weight"]
    assert abs(float(size[kept].mean() / size[~kept].mean()) - 1) < 0.05


def test_more_at_random_adds_to_what_is_gone() -> None:
    big = nn.Sequential(nn.Linear(50, 40), nn.Linear(40, 2))
    pruner = random.build(config("layer", "random"))
    few, more = pruner.masks(big, 0.2)["0.weight"], pruner.masks(big, 0.6)["0.weight"]
    assert not (more & ~few).any()
