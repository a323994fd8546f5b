"""Published results stand beside the runs that repeat them, and beside no others."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from thrifty.report.published import published

HAN: dict[str, Any] = {
    "config": {
        "task": {"name": "image"},
        "architecture": {"name": "mlp", "widths": [300, 100]},
        "method": {"name": "prune"},
    },
    "data": {"examples": {"train": 48_000, "validation": 12_000, "test": 10_000}},
}


def test_han_s_setting_has_han_s_numbers() -> None:
    sentence = published(HAN)
    assert sentence is not None
    assert "98.41 % with 92 %" in sentence


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("config", "method", "name"), "train"),
        (("config", "architecture", "widths"), [128, 64]),
        (("data", "examples"), {"train": 1079, "validation": 359, "test": 359}),
        (("data", "examples"), None),
    ],
)
def test_another_setting_has_none(path: tuple[str, ...], value: Any) -> None:
    record = deepcopy(HAN)
    node = record
    for one in path[:-1]:
        node = node[one]
    node[path[-1]] = value
    assert published(record) is None
