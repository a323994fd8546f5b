"""Workloads that arms are told to measure."""

from __future__ import annotations

import pytest
import torch

from thrifty.instrument.reference import REFERENCE, known_slowdown
from thrifty.methods import workloads


@pytest.mark.parametrize(("slowdown", "first", "second"), [(0.0, 20, 20), (0.03, 34, 35), (0.05, 20, 21), (0.10, 20, 22)])
def test_a_known_slowdown_is_so_many_passes_more(
    monkeypatch: pytest.MonkeyPatch, slowdown: float, first: int, second: int
) -> None:
    made: list[tuple[int, ...]] = []

    class Model(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            made.append(tuple(inputs.shape))
            return inputs

    monkeypatch.setattr(workloads, "build_model", lambda *_, **__: Model())
    *arms, truth = known_slowdown(slowdown)
    assert truth == pytest.approx(second / first - 1)
    assert truth == pytest.approx(slowdown, abs=0.001)
    for spec, passes in zip(arms, (first, second), strict=True):
        made.clear()
        assert spec.entry == workloads.UNTRAINED == REFERENCE.entry
        workload = workloads.untrained(**spec.options)
        workload.call()
        assert made == [(1, 30)] * passes
        assert workload.lead_in is not None
        workload.lead_in()
        assert made == [(1, 30)] * (passes + 6)
        assert workload.examples == 1, "more of the same is slower, not more work done"
