"""Removed weights are zero after every step, and the masks survive a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from thrifty.errors import BadData
from thrifty.pruners.masking import Masking

T, F = True, False


def model() -> nn.Sequential:
    one = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    with torch.no_grad():
        one[0].weight.copy_(torch.tensor([[1.0, -2.0], [float("nan"), float("inf")]]))
    return one


def first(one: nn.Module) -> torch.Tensor:
    return one.get_parameter("0.weight")


def test_holding_sets_zeros_without_a_sign() -> None:
    pruned = model()
    masking = Masking(pruned, {"0.weight": torch.tensor([[T, F], [F, F]])})
    masking.hold()
    assert first(pruned).tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert first(pruned).detach().view(torch.int32).tolist()[0][1] == 0
    assert first(pruned).requires_grad
    assert (masking.removed, masking.total, masking.sparsity) == (3, 4, 0.75)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_type_and_a_model_that_changes_it(dtype: torch.dtype) -> None:
    pruned = model()
    masking = Masking(pruned, {"0.weight": torch.tensor([[T, F], [F, F]])})
    pruned.to(dtype)
    masking.hold()
    assert first(pruned).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_held_through_an_optimiser_s_momentum() -> None:
    torch.manual_seed(0)
    pruned = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(pruned.parameters(), lr=0.1, weight_decay=0.1)
    pruned(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    mask = torch.rand(4, 4) > 0.5
    masking = Masking(pruned, {"0.weight": mask})
    masking.hold()
    before = first(pruned).detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        pruned(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        assert first(pruned)[~mask].abs().max() > 0
        masking.hold()
        assert first(pruned)[~mask].abs().max() == 0
    assert (first(pruned)[mask] != before[mask]).all()


def test_tightening_brings_nothing_back() -> None:
    masking = Masking(model(), {"0.weight": torch.tensor([[T, F], [T, T]])})
    masking.tighten({"0.weight": torch.tensor([[T, T], [F, T]]), "1.weight": torch.tensor([[T, F]])})
    assert masking.masks["0.weight"].tolist() == [[T, F], [F, T]]
    assert masking.masks["1.weight"].tolist() == [[T, F]]
    assert (masking.removed, masking.total) == (3, 6)


def test_the_state_is_a_copy_that_another_takes_up() -> None:
    masking = Masking(model(), {"0.weight": torch.tensor([[T, F], [T, T]])})
    state = masking.state()
    masking.tighten({"0.weight": torch.tensor([[F, F], [F, F]])})
    assert state["0.weight"].tolist() == [[T, F], [T, T]]
    pruned = model()
    other = Masking(pruned, {"1.weight": torch.tensor([[F, F]])})
    other.restore(state)
    assert list(other.masks) == ["0.weight"]
    assert (other.removed, other.total) == (1, 4)
    other.hold()
    assert first(pruned)[0].tolist() == [1.0, 0.0]


def test_weights_that_a_checkpoint_has_replaced_are_held() -> None:
    pruned = model()
    masking = Masking(pruned, {"0.weight": torch.tensor([[F, T], [T, T]])})
    pruned.load_state_dict({name: torch.ones_like(one) for name, one in pruned.state_dict().items()}, assign=True)
    masking.hold()
    assert first(pruned).tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_without_masks_nothing_is_held() -> None:
    masking = Masking(model())
    masking.hold()
    assert (masking.removed, masking.total, masking.sparsity) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ({"2.weight": torch.ones(2, 2, dtype=torch.bool)}, "no such parameter"),
        ({"0.weight": torch.ones(2, 3, dtype=torch.bool)}, r"\(2, 3\), and the parameter is of \(2, 2\)"),
        ({"0.weight": torch.ones(2, 2)}, "float32"),
    ],
)
def test_masks_of_another_model_are_refused_and_change_nothing(mask: dict[str, torch.Tensor], why: str) -> None:
    with pytest.raises(BadData, match=why):
        Masking(model(), mask)
    masking = Masking(model(), {"0.weight": torch.tensor([[T, F], [T, T]])})
    with pytest.raises(BadData, match=why):
        masking.restore(mask)
    assert masking.removed == 1
