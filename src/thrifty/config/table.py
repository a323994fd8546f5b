"""The table of every key, generated from the schema: what `thrifty keys` prints and docs/keys.md holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from thrifty.config.key import Key, keys_of
from thrifty.config.registry import CHOICES
from thrifty.config.schema import Config

DEFAULT_CHOICES = {
    "task": "text",
    "architecture": "by task",
    "method": "train",
    "optimizer": "adamw; adam for task=tabular",
    "schedule": "cosine",
    "precision": "fp32",
    "budget": "quick",
    "measure": "quick",
    "logger": "wandb",
}


def all_keys() -> Iterator[Key]:
    """Every key: the groups, the keys of each choice, and the keys that always exist, in the order of the schema."""
    plain = {key.name: key for key in keys_of(Config)}
    for item in dataclasses.fields(Config):
        if item.name in CHOICES:
            yield from _group(item.name)
        else:
            yield from (key for name, key in plain.items() if name.split(".")[0] == item.name)


def _group(group: str) -> Iterator[Key]:
    names = CHOICES[group]
    schemas = [choice.schema for choice in names.values()]
    meaning = (schemas[0].__mro__[1].__doc__ or "").strip().splitlines()[0]
    yield Key(group, "choice", "", DEFAULT_CHOICES[group], ", ".join(names), meaning)
    for name, choice in names.items():
        for key in keys_of(choice.schema, f"{group}.", f"{group}={name}"):
            if not key.name.endswith(".name"):
                yield key


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
