"""The table of every key, generated from the schema: what `thrifty keys` prints and docs/keys.md holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from thrifty.config.key import Key, keys_of
from thrifty.config.registry import CHOICES
from thrifty.config.schema import Config
from thrifty.config.sweep import Sweep
from thrifty.config.values import choice_values, default_choice, root_values, sweep_values


def all_keys() -> Iterator[Key]:
    """Every key: the groups, the keys of each choice, and the keys that always exist, in the order of the schema."""
    plain = list(keys_of(Config, root_values()))
    for item in dataclasses.fields(Config):
        if item.name in CHOICES:
            yield from _group(item.name)
        else:
            yield from (key for key in plain if key.name.split(".")[0] == item.name)
    for key in keys_of(Sweep, sweep_values(), "sweep.", "-m"):
        yield key if key.name != "sweep.into" else dataclasses.replace(key, choice="")  # the one that is of a single experiment


def default_shown(group: str) -> str:
    """The default choice of a group, and what it is with tasks that change it: `adamw; adam for task=tabular`."""
    usual = default_choice(group)
    others = [(name, default_choice(group, name)) for name in CHOICES["task"]]
    return "; ".join([usual, *(f"{choice} for task={name}" for name, choice in others if choice != usual and group != "task")])


def _group(group: str) -> Iterator[Key]:
    names = CHOICES[group]
    schema = next(iter(names.values())).schema
    root = schema.__mro__[-2]  # the group's own class, above those of its choices
    yield Key(group, "choice", "", default_shown(group), ", ".join(names), (root.__doc__ or "").splitlines()[0])
    for name, choice in names.items():
        yield from keys_of(choice.schema, choice_values(group, name), f"{group}.", f"{group}={name}")


def matching(pattern: str = "") -> list[Key]:
    """The keys whose name contains `pattern`, or that belong to the choice it names."""
    return [key for key in all_keys() if pattern in key.name or (pattern and pattern == key.choice)]


def markdown() -> str:
    """docs/keys.md."""
    lines = [
        "# Every key",
        "",
        "Generated from the schema by `thrifty keys --markdown > docs/keys.md`; a test holds the two together.",
        "A key under *with* exists only with that choice. Write them as `key=value` after `python run.py`.",
        "",
        "| key | type | unit | default | allowed | with | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for key in all_keys():
        cells = (f"`{key.name}`", key.type, key.unit, f"`{key.default}`", key.allowed, key.choice, key.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
