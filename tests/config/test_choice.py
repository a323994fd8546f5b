"""A choice's configuration from plain values: the same as OmegaConf makes of them, or refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from omegaconf import OmegaConf

from thrifty.config.choice import choice_of
from thrifty.config.choices.precisions import WeightType
from thrifty.config.registry import CHOICES
from thrifty.config.values import choice_values

ALL = [(group, name) for group, choices in CHOICES.items() for name in choices]


@pytest.mark.parametrize(("group", "name"), ALL)
def test_it_is_what_omegaconf_makes(group: str, name: str) -> None:
    values = choice_values(group, name)
    schema = OmegaConf.structured(CHOICES[group][name].schema)
    assert choice_of(group, values) == OmegaConf.to_object(OmegaConf.merge(schema, values))


def test_whole_numbers_enums_and_lists_become_what_their_types_say() -> None:
    assert choice_of("precision", {"name": "bf16", "weights": "bf16"}).weights is WeightType.bf16
    adam: dict[str, Any] = {**choice_values("optimizer", "adam"), "lr": 1}
    assert type(choice_of("optimizer", adam).lr) is float
    widths = [8, 4]
    made = choice_of("architecture", {"name": "mlp", "widths": widths})
    assert dataclasses.asdict(made) == {"name": "mlp", "widths": [8, 4]}
    assert made.widths is not widths


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("architecture", {"name": "mlp"}),
        ("architecture", {"name": "mlp", "widths": [8], "depth": 3}),
        ("architecture", {"name": "mlp", "widths": 8}),
        ("architecture", {"name": "mlp", "widths": [8.5]}),
        ("architecture", {"name": "mlp", "widths": [True]}),
        ("architecture", {"name": "mlp", "widths": "88"}),
        ("architecture", {"name": "gpt", "width": 64, "depth": 1, "context": None}),
        ("precision", {"name": "bf16", "weights": "fp8"}),
        ("precision", {"name": "fp32", "weights": "fp32"}),
    ],
)
def test_another_key_or_type_is_refused(group: str, values: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        choice_of(group, values)


def test_a_choice_there_is_not_is_refused() -> None:
    with pytest.raises(KeyError):
        choice_of("architecture", {"name": "perceptron", "widths": [8]})
    with pytest.raises(KeyError):
        choice_of("architecture", {"widths": [8]})
