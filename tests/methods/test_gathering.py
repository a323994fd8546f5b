"""Batches gathered ahead are those their draws draw, in calls of the same steps, and no more memory than allowed."""

from __future__ import annotations

import threading

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


def calls(table: Table, steps: int, stops: set[int], steps_per_call: int, start: int = 0, workers: int = 0) -> Calls:
    return Calls(BatchSampler(10, 4, 0), steps, stops, steps_per_call, table.gather, start, workers)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("steps_per_call", [1, 3, 100])
def test_gathered_batches_are_what_their_draws_draw(steps_per_call: int, workers: int) -> None:
    drawn = [one for call in Calls(BatchSampler(10, 4, 0), 200, {7, 150}, steps_per_call) for one in call]
    gathered = [one for call in calls(Table(), 200, {7, 150}, steps_per_call, workers=workers) for one in call]
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


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_goes_on_gets_the_batches_it_had_not(workers: int) -> None:
    whole = [targets.tolist() for call in calls(Table(), 30, set(), 4) for _, targets in call]
    rest = [targets.tolist() for call in calls(Table(), 30, set(), 4, start=12, workers=workers) for _, targets in call]
    assert rest == whole[12:]


def test_workers_gather_while_the_batches_before_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    table, at_work = Table(), threading.Event()
    gather = table.gather

    def noted(draws: Tensor) -> tuple[Tensor, Tensor]:
        if threading.current_thread() is not threading.main_thread():
            at_work.set()
        return gather(draws)

    monkeypatch.setattr(table, "gather", noted)
    taken = iter(calls(table, 1000, set(), 1, workers=1))
    next(taken)  # the first batch is gathered in between, and tells how large they are
    assert not at_work.is_set()
    next(taken)
    next(taken)
    assert at_work.wait(10)
    assert sum(table.asked) <= 1 + 3 * sampler.MOST_GATHERED, "no further ahead than each worker and one that waits"


def test_what_fails_in_a_worker_fails_where_its_batch_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    table, made = Table(), []
    gather = table.gather

    def failing(draws: Tensor) -> tuple[Tensor, Tensor]:
        made.append(len(draws))
        if len(made) == 3:
            raise OSError("the file is gone")
        return gather(draws)

    monkeypatch.setattr(table, "gather", failing)
    with pytest.raises(OSError, match="the file is gone"):
        for _ in calls(table, 1000, set(), 1, workers=2):
            pass
