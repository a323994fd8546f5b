"""What fine-tuning moves towards zero goes."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from thrifty.config.choices.pruners import Movement, Scope
from thrifty.pruners.movement import MovementPruner, build


def pruner(scope: str = "global") -> MovementPruner:
    return cast(
        MovementPruner,
        build(Movement(name="movement", protect=["embeddings", "norms", "biases", "head"], scope=Scope[scope])),
    )


def model(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    one = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).to(dtype)
    with torch.no_grad():
        one[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
    return one


def give(one: nn.Module, gradient: list[list[float]]) -> None:
    weight = one.get_parameter("0.weight")
    weight.grad = torch.tensor(gradient, dtype=weight.dtype)


def scores(one: MovementPruner) -> Tensor:
    return one.state()["scores"]["0.weight"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_summed_by_hand(dtype: torch.dtype) -> None:
    one, it = model(dtype), pruner()
    give(one, [[1.0, 1.0], [-1.0, 0.5]])
    it.observe(one, 0.5)
    # -lr w g: the step takes 1 towards zero, and the others away from it.
    assert scores(it).tolist() == [[-0.5, 1.0], [1.5, 1.0]]
    give(one, [[0.0, -2.0], [0.0, 0.0]])
    it.observe(one, 0.25)
    assert scores(it).tolist() == [[-0.5, 0.0], [1.5, 1.0]]
    assert scores(it).dtype is torch.float32
    assert it.masks(one, 0.5)["0.weight"].tolist() == [[False, False], [True, True]]
    assert it.masks(one, 0.25)["0.weight"].tolist() == [[False, True], [True, True]]
    assert it.masks(one, 0.0)["0.weight"].all()


def test_a_large_weight_goes_where_it_moves_towards_zero() -> None:
    one, it = model(), pruner()
    before = one.get_parameter("0.weight").detach().clone()
    give(one, [[-1.0, 1.0], [-1.0, -1.0]])
    it.observe(one, 0.1)
    torch.optim.SGD([one.get_parameter("0.weight")], lr=0.1).step()
    shrunk = one.get_parameter("0.weight").detach().abs() < before.abs()
    assert shrunk.tolist() == [[False, False], [False, True]]  # the largest
    assert torch.equal(it.masks(one, 0.25)["0.weight"], ~shrunk)


def test_before_any_step_it_is_by_size_and_says_so() -> None:
    it = pruner()
    assert it.masks(model(), 0.0)["0.weight"].all()
    assert len(it.about) == 1
    assert it.masks(model(), 0.5)["0.weight"].tolist() == [[False, False], [True, True]]
    assert it.about[1] == "no step had been observed, so the first weights went by size"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_the_optimiser_will_not_make_adds_nothing(bad: float) -> None:
    one, it = model(), pruner()
    give(one, [[1.0, 1.0], [bad, 1.0]])
    it.observe(one, 0.5)
    assert scores(it).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_without_gradients_nothing_is_observed() -> None:
    one, it = model(), pruner()
    it.observe(one, 0.5)
    assert it.steps == 0


def test_scores_survive() -> None:
    one, it, other = model(), pruner(), pruner()
    give(one, [[1.0, 1.0], [-1.0, 0.5]])
    it.observe(one, 0.5)
    kept = it.state()
    it.observe(one, 0.5)
    assert kept["scores"]["0.weight"].tolist() == [[-0.5, 1.0], [1.5, 1.0]]  # a copy
    other.restore(kept)
    other.observe(one, 0.5)
    assert torch.equal(scores(other), scores(it))
    assert other.steps == it.steps == 2


def test_another_model_is_looked_at_anew() -> None:
    one, it = model(), pruner()
    give(one, [[1.0, 1.0], [1.0, 1.0]])
    it.observe(one, 1.0)
    other = model()
    give(other, [[-1.0, -1.0], [-1.0, -1.0]])
    it.observe(other, 1.0)
    assert scores(it).tolist() == [[0.0, 0.0], [0.0, 0.0]]
