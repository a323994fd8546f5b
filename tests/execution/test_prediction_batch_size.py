"""thrifty predict --batch-size auto: which size is taken, and what it says."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from thrifty.errors import BadData, OutOfMemory
from thrifty.execution import prediction_batch_size
from thrifty.execution.prediction_batch_size import find_batch_size
from thrifty.execution.prediction_pool import PredictionPool
from thrifty.execution.prediction_worker import PredictorSpec
from thrifty.tasks.prediction_batches import Examples

Try = Callable[[int], float | tuple[float, float]]


def examples(count: int) -> Examples:
    return Examples(count, lambda first, end: torch.ones(end - first, 1))


class StandIn(PredictionPool):
    """A pool without processes."""

    def __init__(self, processes: int) -> None:
        super().__init__(PredictorSpec("nothing"), processes)
        self.renewed = 0

    def wait_until_ready(self) -> None:
        pass

    def renew(self) -> None:
        self.renewed += 1


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Try], list[int]]:
    """Gives sizes the rates of a function, in place of trying them; returns the sizes that were tried."""

    def with_rates(rate: Try) -> list[int]:
        sizes: list[int] = []

        def instead(pool: PredictionPool, inputs: torch.Tensor, seconds: float) -> tuple[float, float]:
            sizes.append(len(inputs))
            found = rate(len(inputs))
            return found if isinstance(found, tuple) else (found, 0.0)

        monkeypatch.setattr(prediction_batch_size, "_rate", instead)
        return sizes

    return with_rates


def test_the_smallest_size_that_is_as_fast_as_the_fastest(tried: Callable[[Try], list[int]]) -> None:
    sizes = tried(lambda size: min(size, 64) * 10 + size / 1000)  # from 64 on nothing that counts is won
    found = find_batch_size(StandIn(2), examples(10**6))
    assert found.size == 64
    assert sizes == [16, 32, 64, 128, 256]
    assert found.about.startswith("--batch-size auto took 64 (16: 160, 32: 320, 64: 640")
    assert "not 3 % faster" in found.about


def test_no_process_is_left_without_a_batch(tried: Callable[[Try], list[int]]) -> None:
    sizes = tried(lambda size: size)
    found = find_batch_size(StandIn(4), examples(400), seconds=0.0)
    assert (found.size, sizes) == (64, [16, 32, 64])  # 128 would be too many for 100 examples each
    assert "without work" in found.about
    sizes.clear()
    assert find_batch_size(StandIn(4), examples(30)).size == 8
    assert sizes == []


@pytest.mark.parametrize(
    "error", [OutOfMemory("a process died"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_what_does_not_fit_ends_the_search_in_fresh_processes(error: Exception, tried: Callable[[Try], list[int]]) -> None:
    def rate(size: int) -> float:
        if size == 64:
            raise error
        return 10.0 * size

    sizes, pool = tried(rate), StandIn(2)
    found = find_batch_size(pool, examples(10**6))
    assert (found.size, sizes, pool.renewed) == (32, [16, 32, 64], 1)
    assert "64: does not fit into memory" in found.about


@pytest.mark.parametrize(
    ("at", "error"), [(16, OutOfMemory("a process died")), (32, BadData("x.png")), (32, RuntimeError("shapes"))]
)
def test_other_errors_are_not_taken_for_a_size(at: int, error: Exception, tried: Callable[[Try], list[int]]) -> None:
    def rate(size: int) -> float:
        if size == at:
            raise error
        return 10.0 * size

    tried(rate)
    with pytest.raises(type(error), match=str(error)):
        find_batch_size(StandIn(2), examples(10**6))


def test_a_size_that_would_need_more_than_is_free_is_not_tried(
    tried: Callable[[Try], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = tried(lambda size: 10.0 * size)
    # 100 MiB with the model loaded, then 10 MiB for each 16 examples.
    monkeypatch.setattr(prediction_batch_size, "_peak_mib", lambda pool: 100 + (sizes or [0])[-1] * 10 / 16)
    monkeypatch.setattr(prediction_batch_size, "available_mib", lambda: 50.0)
    found = find_batch_size(StandIn(2), examples(10**6))
    assert (found.size, sizes) == (128, [16, 32, 64, 128])
    assert "256: would take some 80 MiB more, and 50 are free" in found.about


def test_few_examples_are_predicted_rather_than_tried(tried: Callable[[Try], list[int]]) -> None:
    sizes = tried(lambda size: 1000.0)
    found = find_batch_size(StandIn(2), examples(900))
    assert (found.size, sizes) == (16, [16])
    assert "all 900 examples take less than another try" in found.about


def test_an_engine_s_getting_ready_is_not_the_time_of_trying(
    tried: Callable[[Try], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(prediction_batch_size.time, "monotonic", lambda: clock[0])

    def rate(size: int) -> tuple[float, float]:
        ready = 60.0 if size == 16 else 0.0  # as an engine does that compiles for sizes of any kind
        clock[0] += ready + 1.0
        return min(size, 128) * 10.0, ready

    sizes = tried(rate)
    found = find_batch_size(StandIn(2), examples(10**6))
    assert (found.size, sizes[-1]) == (128, 512)
    assert "not 3 % faster" in found.about


@pytest.mark.parametrize(
    ("ready", "trying", "said"),
    [(40.0, 1.0, "getting ready for 3 sizes took 120 s, so that none over 64 was tried"), (0.0, 11.0, "the time was spent, so that none over 64")],
)  # fmt: skip
def test_what_ends_it_is_told(
    ready: float, trying: float, said: str, tried: Callable[[Try], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(prediction_batch_size.time, "monotonic", lambda: clock[0])

    def rate(size: int) -> tuple[float, float]:
        clock[0] += ready + trying
        return size * 10.0, ready

    tried(rate)
    found = find_batch_size(StandIn(2), examples(10**6))
    assert found.size == 64
    assert said in found.about


def test_processes_are_really_tried() -> None:
    with PredictionPool(PredictorSpec("faulty_predictors:doubles"), 2) as pool:
        found = find_batch_size(pool, examples(100), seconds=0.01)
        assert found.size in (16, 32)
        assert re.match(r"--batch-size auto took \d+ \(16: [0-9.e+]+", found.about)
        assert len(torch.cat(list(pool.map(examples(100).batches(found.size or 1))))) == 100
