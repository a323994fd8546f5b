"""The order of examples, and how it is handed out in calls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from thrifty.methods.sampler import BatchSampler, Calls


def epochs(sampler: BatchSampler, count: int) -> list[list[int]]:
    """Examples in the order they come in, epoch by epoch; the steps drawn must fill whole epochs."""
    draws = sampler.draws(0, count * sampler.examples // sampler.batch_size).flatten()
    numbers = draws.view(count, sampler.examples)
    for epoch, row in enumerate(numbers):
        assert (row // sampler.examples == epoch).all()
    return (numbers % sampler.examples).tolist()


@pytest.mark.parametrize("batch_size", [1, 3, 4, 6, 12])
def test_every_example_comes_once_an_epoch(batch_size: int) -> None:
    for order in epochs(BatchSampler(12, batch_size, seed=0), 5):
        assert sorted(order) == list(range(12))


def test_batches_run_on_over_the_end_of_an_epoch_and_are_all_of_one_size() -> None:
    sampler = BatchSampler(5, 3, seed=0)
    draws = sampler.draws(0, 5)
    assert draws.shape == (5, 3)
    assert draws.dtype == torch.int64
    assert (draws[1] // 5).tolist() == [0, 0, 1]
    assert (draws[3] // 5).tolist() == [1, 2, 2]
    for epoch in range(3):
        assert sorted(draws.flatten()[5 * epoch : 5 * epoch + 5] % 5) == list(range(5))


def test_orders_differ_from_epoch_to_epoch_and_from_seed_to_seed_and_repeat() -> None:
    orders = epochs(BatchSampler(40, 4, seed=7), 6)
    assert len({tuple(order) for order in orders}) == 6
    assert tuple(range(40)) not in {tuple(order) for order in orders}
    assert epochs(BatchSampler(40, 4, seed=7), 6) == orders
    others = epochs(BatchSampler(40, 4, seed=8), 6)
    assert not {tuple(order) for order in others} & {tuple(order) for order in orders}


def test_the_global_generator_neither_decides_the_order_nor_is_moved() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = BatchSampler(40, 4, seed=7).draws(0, 10)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(BatchSampler(40, 4, seed=7).draws(0, 10), first)


def test_a_step_draws_the_same_however_it_is_asked_for() -> None:
    whole = BatchSampler(7, 3, seed=1).draws(0, 12)
    one_by_one = BatchSampler(7, 3, seed=1)
    assert torch.equal(torch.cat([one_by_one.draws(step, 1) for step in range(12)]), whole)
    assert torch.equal(BatchSampler(7, 3, seed=1).draws(8, 4), whole[8:])
    backwards = BatchSampler(7, 3, seed=1)
    assert torch.equal(torch.cat([backwards.draws(step, 1) for step in reversed(range(12))]).flip(0), whole)


def test_whole_batches_come_in_order_one_an_epoch() -> None:
    assert BatchSampler(4, 4, seed=3).draws(2, 2).tolist() == [[8, 9, 10, 11], [12, 13, 14, 15]]


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**63 - 1])
def test_every_allowed_seed_gives_an_order(seed: int) -> None:
    assert sorted(BatchSampler(9, 9 // 3, seed).draws(0, 3).flatten().tolist()) == list(range(9))


# -- calls --------------------------------------------------------------------------------------------------------------


def spans(calls: Calls) -> list[tuple[int, int]]:
    """First and last step, counted from 1, of each call; held to draw what the sampler draws for them."""
    found, step = [], 0
    for draws in calls:
        assert torch.equal(draws, BatchSampler(10, 2, 0).draws(step, len(draws)))
        found.append((step + 1, step + len(draws)))
        step += len(draws)
    return found


def test_calls_never_run_over_a_stop_and_the_first_has_one_step() -> None:
    calls = Calls(BatchSampler(10, 2, 0), 20, {7, 12}, steps_per_call=4)
    assert spans(calls) == [(1, 1), (2, 5), (6, 7), (8, 11), (12, 12), (13, 16), (17, 20)]


def test_without_stops_they_are_as_long_as_asked_for_up_to_the_end() -> None:
    assert spans(Calls(BatchSampler(10, 2, 0), 10, set(), steps_per_call=6)) == [(1, 1), (2, 7), (8, 10)]
    assert spans(Calls(BatchSampler(10, 2, 0), 3, set(), steps_per_call=1)) == [(1, 1), (2, 2), (3, 3)]
    assert spans(Calls(BatchSampler(10, 2, 0), 1, set(), steps_per_call=100)) == [(1, 1)]


def test_a_length_set_between_calls_holds_from_the_next_one_drawn() -> None:
    calls = Calls(BatchSampler(10, 2, 0), 30, {25}, steps_per_call=None)
    lengths = []
    for draws in calls:
        lengths.append(len(draws))
        calls.size = 2 * len(draws)
    assert lengths == [1, 2, 4, 8, 10, 5]  # 16 and 20 are cut at the stop and at the end


def test_time_spent_on_drawing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr("thrifty.methods.sampler.time", clock)

    class Slow(BatchSampler):
        def draws(self, step: int, count: int) -> Tensor:
            clock.now += 0.5 * count
            return super().draws(step, count)

    calls = Calls(Slow(10, 2, 0), 7, set(), steps_per_call=3)
    for _ in calls:
        clock.now += 100  # the training step, which is not drawing
    assert calls.seconds == 3.5
