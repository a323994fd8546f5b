"""What certainly needs at least as much memory as something else."""

from __future__ import annotations

import pytest

from thrifty.sweeps.memory_order import needs_as_much

RAN_OUT = {"batch_size": "64", "model": "small", "optimizer": "adam"}


@pytest.mark.parametrize(
    ("changed", "as_much"),
    [
        ({}, True),
        ({"batch_size": "128"}, True),
        ({"batch_size": "128", "model": "base"}, True),
        ({"batch_size": "100"}, True),
        ({"batch_size": "32"}, False),
        ({"batch_size": "128", "model": "tiny"}, False),
        ({"optimizer": "sgd"}, False),
        ({"batch_size": "full"}, False),
        ({"model": "enormous"}, False),
    ],
)
def test_by_the_keys_alone(changed: dict[str, str], as_much: bool) -> None:
    assert needs_as_much(RAN_OUT | changed, RAN_OUT) is as_much
