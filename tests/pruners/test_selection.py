"""Exactly as many weights go as are asked for."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from thrifty.config.choices.pruners import Scope
from thrifty.errors import BadData
from thrifty.pruners.base import Masks
from thrifty.pruners.selection import by_scope, lowest, of_all, of_each, of_groups, of_rows, shares

T, F = True, False


def gone(masks: Masks) -> int:
    return sum(int((~one).sum()) for one in masks.values())


def drawn(seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def test_over_all_the_lowest_go_wherever_they_are() -> None:
    masks = of_all({"a": torch.tensor([[5.0, 1.0], [2.0, 9.0]]), "b": torch.tensor([3.0, 0.5])}, 0.5)
    assert masks["a"].tolist() == [[T, F], [F, T]]
    assert masks["b"].tolist() == [T, F]


def test_of_each_the_same_share_goes() -> None:
    masks = of_each({"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.tensor([30.0, 20.0])}, 0.5)
    assert masks["a"].tolist() == [[F, F], [T, T]]
    assert masks["b"].tolist() == [T, F]


def test_of_each_sizes_that_do_not_divide_differ_by_one_and_the_total_is_exact() -> None:
    scores = drawn(a=(3,), b=(3,), c=(7,))
    masks = of_each(scores, 0.5)  # shares 1.5, 1.5 and 3.5; round(6.5) = 6
    assert gone(masks) == 6
    for name, one in masks.items():
        assert abs(int((~one).sum()) - scores[name].numel() / 2) < 1


@pytest.mark.parametrize("select", [of_all, of_each, of_rows])
@pytest.mark.parametrize("sparsity", [0.0, 0.001, 0.1, 1 / 3, 0.5, 0.9, 0.999, 1.0])
def test_the_total_is_exact(select, sparsity: float) -> None:
    scores = drawn(a=(17, 13), b=(5,), c=(4, 3, 3, 3), d=(1, 1))
    assert gone(select(scores, sparsity)) == round(sparsity * (221 + 5 + 108 + 1))


@pytest.mark.parametrize("select", [of_all, of_each, of_rows])
def test_ties_do_not_break_the_count_and_go_in_order(select) -> None:
    masks = select({"a": torch.zeros(4, 10), "b": torch.ones(20)}, 0.3)
    assert gone(masks) == 18
    again = select({"a": torch.zeros(4, 10), "b": torch.ones(20)}, 0.3)
    assert all(torch.equal(one, again[name]) for name, one in masks.items())
    assert lowest(torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0]), 3).tolist() == [T, T, T, F, F]


def test_rows_lose_the_same_number() -> None:
    masks = of_rows({"a": torch.tensor([[1.0, 2, 3, 4], [40, 30, 20, 10], [5, 8, 6, 7]])}, 0.5)
    assert masks["a"].tolist() == [[F, F, T, T], [T, T, F, F], [F, T, F, T]]
    flattened = of_rows(drawn(a=(6, 4, 3, 3)), 0.25)["a"]
    assert (~flattened).flatten(1).sum(1).tolist() == [9] * 6


def test_rows_that_do_not_divide_lose_one_more_where_it_costs_least() -> None:
    # 3 of 9: one of each row; 4: and another of the row whose second lowest is lowest.
    scores = {"a": torch.tensor([[1.0, 9, 9], [5, 6, 9], [5, 2, 3]])}
    assert of_rows(scores, 3 / 9)["a"].tolist() == [[F, T, T], [F, T, T], [T, F, T]]
    assert of_rows(scores, 4 / 9)["a"].tolist() == [[F, T, T], [F, T, T], [T, F, F]]
    counts = (~of_rows(drawn(a=(50, 7)), 0.5)["a"]).sum(1)
    assert set(counts.tolist()) == {3, 4}
    assert int(counts.sum()) == 175


def test_of_every_group_n_stay() -> None:
    scores = {"a": torch.tensor([[4.0, 1, 3, 2, 0, 0, 0, 0], [1, 2, 3, 4, 9, 8, 7, 6]])}
    assert of_groups(scores, 2, 4)["a"].tolist() == [[T, F, T, F, F, F, T, T], [F, F, T, T, T, T, F, F]]
    assert of_groups(scores, 1, 8)["a"].tolist() == [[T] + [F] * 7, [F] * 4 + [T] + [F] * 3]
    with pytest.raises(ValueError, match="not of groups of 4"):
        of_groups({"a": torch.ones(2, 6)}, 2, 4)


def test_groups_do_not_cross_rows_of_a_convolution() -> None:
    scores = drawn(a=(3, 4, 3, 3))
    mask = of_groups(scores, 3, 4)["a"]
    assert (~mask).flatten(1).view(3, 9, 4).sum(2).eq(1).all()


@pytest.mark.parametrize("select", [of_all, of_each, of_rows])
def test_what_is_held_stays_gone_and_counts(select) -> None:
    scores = drawn(a=(8, 10), b=(30,))
    held: Masks = {"a": torch.ones(8, 10, dtype=torch.bool), "b": torch.ones(30, dtype=torch.bool)}
    held["a"][0, :7] = False
    scores["a"][0, :7] = 100.0  # of the highest scores, and gone all the same
    masks = select(scores, 0.4, held)
    assert gone(masks) == 44
    assert not masks["a"][0, :7].any()
    assert gone(select(scores, 0.01, held)) == 7


@pytest.mark.parametrize("select", [of_all, of_each, of_rows])
def test_step_by_step_nothing_comes_back_and_every_count_is_exact(select) -> None:
    held = None
    for number, sparsity in enumerate((0.07, 0.2, 0.33, 0.5, 0.51, 0.77, 0.9)):
        masks = select(drawn(seed=number, a=(9, 11), b=(7, 5), c=(13,)), sparsity, held)
        assert gone(masks) == round(sparsity * 147)
        if held is not None:
            assert not any((one & ~held[name]).any() for name, one in masks.items())
        held = masks


def test_groups_keep_what_is_held_gone() -> None:
    held = {"a": torch.tensor([[F, T, T, T], [F, F, F, T]])}
    masks = of_groups({"a": torch.tensor([[9.0, 1, 2, 3], [9, 9, 9, 1]])}, 2, 4, held)
    assert masks["a"].tolist() == [[F, F, T, T], [F, F, F, T]]


def test_a_row_that_has_lost_more_than_its_share_spares_the_others() -> None:
    held = {"a": torch.tensor([[F, F, F, F], [T, T, T, T], [T, T, T, T]])}
    masks = of_rows({"a": torch.ones(3, 4)}, 0.5, held)
    assert (~masks["a"]).sum(1).tolist() == [4, 1, 1]


def test_shares_by_hand() -> None:
    assert shares({"a": 10, "b": 20}, {}, 15) == {"a": 5, "b": 10}
    assert shares({"a": 1, "b": 1, "c": 1}, {}, 2) == {"a": 1, "b": 1, "c": 0}
    assert shares({"a": 10, "b": 10, "c": 10}, {"a": 9}, 15) == {"a": 9, "b": 3, "c": 3}
    assert shares({"a": 10, "b": 10}, {"a": 9}, 5) == {"a": 9, "b": 0}
    assert shares({"a": 10, "b": 0}, {}, 10) == {"a": 10, "b": 0}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("select", [of_all, of_each, of_rows, lambda scores, _: of_groups(scores, 2, 4)])
def test_scores_that_are_no_numbers_are_refused_by_name(select, bad: float) -> None:
    scores = drawn(a=(4, 4), layer=(4, 4))
    scores["layer"][1, 2] = bad
    with pytest.raises(BadData, match=r"^layer: .* infinite or not a number"):
        select(scores, 0.5)


def test_of_what_is_gone_no_score_is_asked_for() -> None:
    scores = {"a": torch.tensor([float("nan"), 1.0, 2.0, 3.0])}
    assert of_all(scores, 0.5, {"a": torch.tensor([F, T, T, T])})["a"].tolist() == [F, F, T, T]


def test_scope() -> None:
    scores = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 4.0])}
    assert by_scope(Scope["global"], scores, 0.5)["b"].tolist() == [T, T]
    assert by_scope(Scope["layer"], scores, 0.5)["b"].tolist() == [F, T]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type(dtype: torch.dtype) -> None:
    assert gone(of_all({"a": torch.rand(100, generator=torch.Generator().manual_seed(0)).to(dtype)}, 0.37)) == 37


@pytest.mark.parametrize("kind", ["drawn", "tied"])
def test_a_million_weights_take_no_time_worth_mentioning(kind: str) -> None:
    scores = {"a": drawn(a=(1000, 1000))["a"] if kind == "drawn" else torch.zeros(1000, 1000)}
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        assert gone(of_all(scores, 0.5)) == 500_000
        times.append(time.perf_counter() - begin)
    assert min(times) < 1.0  # some 40 ms; a loop over weights would take a second
