"""From raw samples to the record's metrics, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from thrifty.measure.statistics import Interval
from thrifty.methods.arithmetic import compute_metrics, entry, quality_metrics, size_metrics, training_metrics
from thrifty.metrics import METRICS

T_2 = 4.3026527
"""Student's t at 0.975 with 2 degrees of freedom, from a table."""
CALLS = [(1, 2.0, 0.5), (10, 1.0, 0.1), (20, 2.6, 0.2), (10, 1.2, 0.3)]
"""Step times of the later calls: 100, 130 and 120 ms; 4.8 s in 40 steps: 120 ms on the mean."""


def metrics(calls: list[tuple[int, float, float]], **others: Any) -> dict[str, Any]:
    found = training_metrics(calls, **{"batch_size": 32, "target": None, "seconds_to_target": None, **others})
    assert set(found) <= set(METRICS)
    for name, one in found.items():
        assert one["value"] is not None or one["reason"], name
    return found


def test_sums_and_shares_of_the_calls() -> None:
    found = metrics(CALLS)
    assert found["train/steps"]["value"] == 41
    assert found["train/time_s"]["value"] == pytest.approx(6.8)
    assert found["train/first_step_s"]["value"] == 2.0
    assert found["train/data_wait_pct"]["value"] == pytest.approx(100 * 1.1 / 6.8)


def test_the_step_time_leaves_the_first_out_and_weighs_calls_by_their_steps() -> None:
    step = metrics(CALLS)["train/step_ms"]
    assert (step["value"], step["n"]) == (pytest.approx(120), 40)
    # Spread of 100, 130, 120 about their own mean of 350/3: deviation sqrt((16.67^2 + 13.33^2 + 3.33^2) / 2) = 15.2753
    half = T_2 * 15.2752523 / math.sqrt(3)
    assert (step["low"], step["high"]) == (pytest.approx(120 - half), pytest.approx(120 + half))


def test_samples_a_second_are_the_batch_over_the_step_time_with_its_bounds_swapped() -> None:
    found = metrics(CALLS)
    step, rate = found["train/step_ms"], found["train/samples_per_s"]
    assert rate["value"] == pytest.approx(32 / 0.120)
    assert rate["low"] == pytest.approx(32_000 / step["high"])
    assert rate["high"] == pytest.approx(32_000 / step["low"])
    assert rate["n"] == 40


def test_an_interval_that_would_reach_below_zero_ends_there_and_the_rate_has_no_upper_bound() -> None:
    found = metrics([(1, 1.0, 0.0), (1, 0.1, 0.0), (1, 0.9, 0.0)])
    assert found["train/step_ms"]["value"] == pytest.approx(500)
    assert found["train/step_ms"]["low"] == 0
    assert found["train/samples_per_s"]["high"] is None
    assert found["train/samples_per_s"]["low"] == pytest.approx(32_000 / found["train/step_ms"]["high"])


def test_one_later_call_has_a_mean_and_no_interval() -> None:
    found = metrics([(1, 1.0, 0.0), (4, 0.8, 0.0)])
    assert found["train/step_ms"] == {"value": pytest.approx(200), "low": None, "high": None, "n": 4}
    assert found["train/samples_per_s"] == {"value": pytest.approx(160), "low": None, "high": None, "n": 4}


def test_a_single_step_is_the_first_and_has_no_step_time() -> None:
    found = metrics([(1, 0.5, 0.25)])
    assert found["train/first_step_s"]["value"] == 0.5
    assert found["train/data_wait_pct"]["value"] == 50
    assert found["train/step_ms"] == {"value": None, "reason": "the run made a single step, which is train/first_step_s"}
    assert found["train/samples_per_s"] == found["train/step_ms"]


def test_no_step_at_all_is_a_reason_for_every_time() -> None:
    found = metrics([])
    assert (found["train/steps"]["value"], found["train/time_s"]["value"]) == (0, 0)
    for name in ("step_ms", "samples_per_s", "first_step_s", "data_wait_pct"):
        assert found[f"train/{name}"] == {"value": None, "reason": "the run made no step"}
    assert set(found) == set(metrics(CALLS))


def test_time_to_target_is_known_only_where_a_target_was_given_and_met() -> None:
    assert "target=VALUE" in metrics(CALLS)["train/time_to_target_s"]["reason"]
    assert metrics(CALLS, target=0.95)["train/time_to_target_s"]["reason"] == "validation never met target=0.95"
    assert metrics(CALLS, target=0.95, seconds_to_target=0.0)["train/time_to_target_s"]["value"] == 0
    assert metrics(CALLS, target=0.95, seconds_to_target=3.5)["train/time_to_target_s"]["value"] == 3.5


def test_an_estimate_keeps_its_bounds_and_its_count() -> None:
    assert entry(Interval(1.0, 0.5, 2.0, 7)) == {"value": 1.0, "low": 0.5, "high": 2.0, "n": 7}
    assert entry(Interval(1.0)) == {"value": 1.0, "low": None, "high": None, "n": 1}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_no_number_has_a_reason(value: float) -> None:
    assert entry(Interval(value, value, value, 3)) == {"value": None, "reason": f"came out as {value}"}


def test_quality_takes_the_splits_name_and_leaves_out_what_is_not_declared() -> None:
    summary = {"accuracy": Interval(0.9, 0.8, 0.95, 100), "helper": Interval(1.0)}
    assert quality_metrics("quality", summary) == {"quality/accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100}}
    assert set(quality_metrics("validation", summary)) == {"validation/accuracy"}


def test_size_counts_tied_parameters_once_and_zeros_apart() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for one in model.parameters():
            one.fill_(1.0)
        model[0].weight[:, 0] = 0.0
        model[0].bias.zero_()
    model[1].weight = model[0].weight
    found = size_metrics(model, 3 * 2**19)
    # 9 shared weights, 2 biases of 3, scale and shift of the norm 3 each; its running statistics are no parameters.
    assert found["size/parameters"]["value"] == 9 + 3 + 3 + 3 + 3
    assert found["size/nonzero"]["value"] == 6 + 0 + 3 + 3 + 3
    assert found["size/file_mib"]["value"] == 1.5


def test_size_of_a_half_precision_model() -> None:
    model = nn.Linear(2, 2).to(torch.bfloat16)
    with torch.no_grad():
        model.weight.fill_(1e-30)  # tiny is not zero
        model.bias.fill_(-0.0)
    assert size_metrics(model, 1)["size/nonzero"]["value"] == 4


def test_compute_is_flops_over_time_over_the_ceiling() -> None:
    found = compute_metrics(flops_per_example=1_000, examples=500, seconds=2.0, ceiling_flops_per_s=1_000_000.0)
    assert found["train/flops"]["value"] == 500_000
    assert found["train/mfu_pct"]["value"] == 25  # 250 000 FLOP a second of 1 000 000
