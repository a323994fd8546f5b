"""Workloads that arms are told to measure."""

from __future__ import annotations

import pytest

from thrifty.instrument.reference import REFERENCE, slower_by
from thrifty.methods import workloads


@pytest.mark.parametrize(("slowdown", "predictions"), [(0.0, 100), (0.03, 103), (0.05, 105), (0.10, 110)])
def test_a_known_slowdown_is_so_many_predictions_more(
    monkeypatch: pytest.MonkeyPatch, slowdown: float, predictions: int
) -> None:
    made = []
    monkeypatch.setattr(workloads, "predictor", lambda *_: lambda inputs: made.append(inputs.shape))
    spec = slower_by(slowdown)
    assert spec.entry == workloads.UNTRAINED == REFERENCE.entry
    workload = workloads.untrained(**spec.options)
    workload.call()
    assert made == [(1, 30)] * predictions
    assert workload.examples == 1, "more of the same is slower, not more work done"
