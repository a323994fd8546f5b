"""The rates of matrix products and of moving memory, by a clock that the tests move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from moved_clock import MovedClock

from thrifty.measure import ceiling

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    one = MovedClock()
    monkeypatch.setattr(ceiling, "time", one)
    return one


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ceiling_multiplies_matrices_of_the_dtype_it_was_given(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    multiply, seen = torch.mm, set()

    def watched(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        seen.add((left.dtype, right.dtype, left.shape, right.shape))
        return multiply(left, right)

    monkeypatch.setattr(torch, "mm", watched)
    monkeypatch.setattr(ceiling, "_OTHER_SIZES", (64,))
    rate = ceiling.matmul_ceiling(CPU, dtype, seconds=0.0).flops_per_s
    assert seen == {(dtype, dtype, (64, 64), (64, 64))}
    assert 1e6 < rate < 1e15


def multiplying(clock: MovedClock, flops_per_s: dict[int, float]) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """A product that takes as long as its size's rate says."""

    def multiply(left: torch.Tensor, right: torch.Tensor) -> None:
        clock.now += 2 * len(left) ** 3 / flops_per_s[len(left)]

    return multiply


def test_the_best_size_is_found(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_OTHER_SIZES", (8, 16, 32))
    monkeypatch.setattr(torch, "mm", multiplying(clock, {8: 1e6, 16: 4e6, 32: 3e6}))
    found = ceiling.matmul_ceiling(CPU, torch.float32, seconds=1.0)
    assert found.size == 16
    assert found.flops_per_s == pytest.approx(4e6)


def test_a_dtype_without_arithmetic_of_its_own_is_not_given_large_matrices(
    clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceiling, "_OTHER_SIZES", (8, 16, 32))
    # 1024 operations in 0.1 s; at 16 a product would take 0.8 s, and three of them more than the second there is.
    monkeypatch.setattr(torch, "mm", multiplying(clock, {8: 10_240.0}))
    found = ceiling.matmul_ceiling(CPU, torch.float32, seconds=1.0)
    assert (found.size, found.flops_per_s) == (8, pytest.approx(10_240))
    assert clock.now - 1000 < 1.3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8])
def test_every_dtype_that_the_processor_multiplies_has_a_ceiling(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceiling, "_OTHER_SIZES", (32, 64))
    found = ceiling.matmul_ceiling(CPU, dtype, seconds=0.0)
    assert found.size in (32, 64)
    assert 1e5 < found.flops_per_s < 1e15


@pytest.mark.parametrize(
    ("measure", "operation", "arrays"),
    [(ceiling.copy_bytes_per_s, "copy_", 2), (ceiling.triad_bytes_per_s, "add", 3)],
)
def test_bandwidth_counts_what_is_read_and_written(
    measure: Callable[..., float], operation: str, arrays: int, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = clock.taking(4.0, 2.0, 8.0)
    monkeypatch.setattr(torch if operation == "add" else torch.Tensor, operation, lambda *arguments, **options: call())
    assert measure(CPU, 1, seconds=1.0) == arrays * 2**20 / 2.0


def test_triad_adds_three_times_one_array_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    add = torch.add

    def watched(*arguments: torch.Tensor, **options: Any) -> torch.Tensor:
        results.append(add(*arguments, **options))
        return results[-1]

    monkeypatch.setattr(torch, "add", watched)
    assert 1e6 < ceiling.triad_bytes_per_s(CPU, 1, seconds=0.0) < 1e14
    assert len(results) == 3
    assert all(bool((one == 4).all()) and one.nbytes == 2**20 for one in results)
