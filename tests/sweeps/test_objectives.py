"""What a search is judged by, as it is written."""

from __future__ import annotations

import pytest

from thrifty.errors import BadConfiguration
from thrifty.metrics import measured, missing
from thrifty.sweeps.objectives import constraint_of, objective_of, value_in


@pytest.mark.parametrize(
    ("written", "direction", "text"),
    [
        ("validation/accuracy: maximize", "maximize", "validation/accuracy: maximize"),
        ("validation/accuracy", "maximize", "validation/accuracy: maximize"),
        ("infer/latency_ms", "minimize", "infer/latency_ms: minimize"),
        ("infer/batch_16/samples_per_s", "maximize", "infer/batch_16/samples_per_s: maximize"),
        (" train/steps :minimize ", "minimize", "train/steps: minimize"),
    ],
)
def test_an_objective_goes_its_metric_s_way_unless_told(written: str, direction: str, text: str) -> None:
    found = objective_of(written)
    assert (found.direction, found.text) == (direction, text)
    assert found.better(2.0, 1.0) == (direction == "maximize")
    assert not found.better(1.0, 1.0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("validation/acuracy: maximize", r"there is no such metric; did you mean 'validation/accuracy'"),
        ("validation/accuracy: up", r"must be 'validation/accuracy: minimize' or"),
        ("train/steps", r"neither way of train/steps is better"),
        ("quality/accuracy: maximize", r"is of the test split, .* such as validation/accuracy"),
        ("quality/gap: minimize", r"is of the test split, .* such as validation/loss"),
    ],
)
def test_what_is_no_objective_is_refused_in_a_line(written: str, message: str) -> None:
    with pytest.raises(BadConfiguration, match=rf"^sweep\.objectives={written}: .*{message}") as caught:
        objective_of(written)
    assert "\n" not in str(caught.value)


def test_a_constraint_says_by_how_much_it_is_broken() -> None:
    at_most, at_least = constraint_of("size/file_mib<=10"), constraint_of("validation/accuracy >= 0.9")
    assert (at_most.text, at_least.text) == ("size/file_mib <= 10", "validation/accuracy >= 0.9")
    assert (at_most.excess(12.0), at_most.excess(10.0), at_most.excess(7.0)) == (2.0, 0.0, -3.0)
    assert at_least.excess(0.8) == pytest.approx(0.1)
    assert at_least.excess(0.95) < 0


@pytest.mark.parametrize("written", ["size/file_mib", "size/file_mib < 10", "size/file_mib <= ten", "<= 10", "a <= b <= c", ""])
def test_what_is_no_constraint_is_refused(written: str) -> None:
    with pytest.raises(BadConfiguration, match=r"must be METRIC <= NUMBER"):
        constraint_of(written)


def test_a_constraint_of_the_test_split_or_of_nothing_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="is of the test split"):
        constraint_of("quality/accuracy >= 0.9")
    with pytest.raises(BadConfiguration, match="no such metric"):
        constraint_of("size/file <= 10")


def test_a_value_that_is_not_there_says_why() -> None:
    record = {"metrics": {"infer/latency_ms": measured(3.0), "train/energy_j": missing("no counter")}}
    assert value_in(record, "infer/latency_ms") == (3.0, "")
    assert value_in(record, "train/energy_j") == (None, "train/energy_j: no counter")
    assert value_in(record, "size/file_mib") == (None, "size/file_mib: no run of this kind has it")
