"""Batches gathered ahead are those their draws draw, in calls of the same steps, and no more memory than allowed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from thrifty.methods import sampler
from thrifty.methods.sampler import BatchSampler, Calls


class Table:
    """Example n is the row [n, n, n] with the target -n; remembers how many batches it was asked for at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def gather(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(len(draws))
        return draws.unsqueeze(-1).expand(*draws.shape, 3).float(), -draws


def calls(table: Table, steps: int, stops: set[int], steps_per_call: int) -> Calls:
    return Calls(BatchSampler(10, 4, 0), steps, stops, steps_per_call, table.gather)


@pytest.mark.parametrize("steps_per_call", [1, 3, 100])
def test_gathered_batches_are_what_their_draws_draw(steps_per_call: int) -> None:
    drawn = [one for call in Calls(BatchSampler(10, 4, 0), 200, {7, 150}, steps_per_call) for one in call]
    gathered = [one for call in calls(Table(), 200, {7, 150}, steps_per_call) for one in call]
    assert len(gathered) == len(drawn) == 200
    for (inputs, targets), draws in zip(gathered, drawn, strict=True):
        assert torch.equal(targets, -draws)
        assert torch.equal(inputs, draws.float().unsqueeze(-1).expand(4, 3))


def test_calls_are_of_the_same_steps_however_batches_are_gathered() -> None:
    sizes = [len(call) for call in calls(Table(), 20, {7, 12}, 4)]
    assert sizes == [1, 4, 2, 4, 1, 4, 4] == [len(call) for call in Calls(BatchSampler(10, 4, 0), 20, {7, 12}, 4)]


def test_the_first_batch_comes_alone_and_the_others_many_at_once() -> None:
    table = Table()
    assert sum(len(call) for call in calls(table, 100, set(), 1)) == 100
    assert table.asked == [1, sampler.MOST_GATHERED, 100 - 1 - sampler.MOST_GATHERED]


def test_no_more_is_gathered_ahead_than_the_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    one_batch = 4 * 3 * 4 + 4 * 8  # four rows of three 32-bit numbers, four 64-bit targets
    monkeypatch.setattr(sampler, "GATHERED_BYTES", 5 * one_batch + 1)
    table = Table()
    assert sum(len(call) for call in calls(table, 14, set(), 1)) == 14
    assert table.asked == [1, 5, 5, 3]


def test_a_batch_larger_than_the_memory_allowed_is_gathered_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "GATHERED_BYTES", 10)
    table = Table()
    taken = iter(calls(table, 8, set(), 3))
    assert [len(next(taken)) for _ in range(2)] == [1, 3]
    assert table.asked == [1, 3]


def test_nothing_is_gathered_ahead_of_the_last_step() -> None:
    table = Table()
    assert [len(call) for call in calls(table, 5, set(), 2)] == [1, 2, 2]
    assert table.asked == [1, 4]
