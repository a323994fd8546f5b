"""The rate of a large matrix product, by a clock that the tests move."""

from __future__ import annotations

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


def test_the_ceiling_is_the_fastest_product(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    call = clock.taking(4.0, 2.0, 8.0)
    monkeypatch.setattr(torch, "mm", lambda left, right: call())
    # 2 * 100^3 operations in 2 s at best, of three tries in however long.
    assert ceiling.matmul_flops_per_s(CPU, torch.float32, size=100, seconds=1.0) == 1_000_000


def test_the_ceiling_is_tried_for_the_time_given(clock: MovedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    call = clock.taking(*[2.0] * 9, 1.0, 2.0)
    monkeypatch.setattr(torch, "mm", lambda left, right: call())
    assert ceiling.matmul_flops_per_s(CPU, torch.float32, size=100, seconds=18.5) == 2_000_000  # the tenth try


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ceiling_multiplies_matrices_of_the_dtype_it_was_given(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    multiply, seen = torch.mm, set()

    def watched(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        seen.add((left.dtype, right.dtype, left.shape, right.shape))
        return multiply(left, right)

    monkeypatch.setattr(torch, "mm", watched)
    rate = ceiling.matmul_flops_per_s(CPU, dtype, size=64, seconds=0.0)
    assert seen == {(dtype, dtype, (64, 64), (64, 64))}
    assert 1e6 < rate < 1e15
