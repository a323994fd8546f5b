"""docs/keys.md and `thrifty keys`: the schema, printed."""

import dataclasses
from pathlib import Path

import pytest

from thrifty.config.registry import CHOICES
from thrifty.config.schema import Config
from thrifty.config.table import all_keys, default_shown, markdown, matching

PAGE = Path(__file__).parents[2] / "docs" / "keys.md"


def test_docs_hold_what_the_schema_says() -> None:
    assert PAGE.read_text() == markdown(), "run `make keys`"


def test_every_field_of_the_schema_is_in_the_table() -> None:
    names = {key.name for key in all_keys()}
    for item in dataclasses.fields(Config):
        assert item.name in names or any(name.startswith(f"{item.name}.") for name in names), item.name
    for group, choices in CHOICES.items():
        for name, choice in choices.items():
            own = {key.name for key in all_keys() if key.choice == f"{group}={name}"}
            assert own == {f"{group}.{item.name}" for item in dataclasses.fields(choice.schema)} - {f"{group}.name"}


def test_every_key_says_what_it_means() -> None:
    for key in all_keys():
        assert key.meaning, key.name
        assert key.type, key.name
        assert key.default, key.name


@pytest.mark.parametrize("group", CHOICES)
def test_a_default_choice_exists(group: str) -> None:
    assert default_shown(group).split(";")[0] in CHOICES[group]


def test_keys_are_found_by_a_part_of_their_name_or_by_their_choice() -> None:
    assert {key.name for key in matching("betas")} == {"optimizer.betas"}
    assert {key.name for key in matching("optimizer=sgd")} == {"optimizer.lr", "optimizer.momentum"}
    assert matching("no such key") == []
