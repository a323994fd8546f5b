"""A key of the configuration: a dataclass field that carries its meaning, its unit and its range."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from thrifty.errors import BadConfiguration

BY_ARCHITECTURE_AND_MODEL = "by architecture and model"
BY_TASK = "by task"
"""What a value of null stands for, where `resolve` works it out from these."""


def key(
    meaning: str,
    *,
    unit: str = "",
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    words: tuple[str, ...] = (),
    null: str = "none",
) -> Any:
    """A field with what `thrifty keys` prints and what `check` enforces; its value stands in conf/.

    `words` are the only strings allowed where the type admits strings beside numbers; `null` says what a value of null
    means.
    """
    return field(
        metadata={"meaning": meaning, "unit": unit, "range": (above, at_least, below, at_most), "words": words, "null": null}
    )


def allowed_range(metadata: Any) -> str:
    """The range of a key in words: `above 0, below 1`; empty where there is none."""
    above, at_least, below, at_most = metadata.get("range", (None,) * 4)
    parts = [
        f"{word} {bound:g}" if abs(bound) < 1e6 else f"{word} {bound:.0f}"
        for word, bound in (("above", above), ("at least", at_least), ("below", below), ("at most", at_most))
        if bound is not None
    ]
    words = metadata.get("words", ())
    text = ", ".join(parts)
    if words:
        text = " or ".join([text, *words])
    return text


def check(node: Any, path: str = "") -> None:
    """Hold every key of a tree of dataclasses to its range.

    Raises:
        BadConfiguration: at the first key outside it, naming the key, the value and what is allowed.
    """
    for item in dataclasses.fields(node):
        value = getattr(node, item.name)
        name = f"{path}{item.name}"
        if dataclasses.is_dataclass(value):
            check(value, f"{name}.")
            continue
        for one in value if isinstance(value, list) else [value]:
            if not _within(one, item.metadata):
                allowed = allowed_range(item.metadata)
                allowed = allowed if allowed and not _infinite(one) else f"a finite number{', ' if allowed else ''}{allowed}"
                raise BadConfiguration(f"{name}={one}: must be {allowed}; see `thrifty keys {name}`")
            if one == "" and item.metadata:
                raise BadConfiguration(f"{name}=: is empty; give a value, or leave it out; see `thrifty keys {name}`")
    extra: Callable[[str], None] | None = getattr(node, "check", None)
    if extra is not None:
        extra(path)


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _within(value: Any, metadata: Any) -> bool:
    words = metadata.get("words", ())
    if isinstance(value, str) and not isinstance(value, Enum):
        return not words or value in words
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    if not math.isfinite(value):
        return False
    above, at_least, below, at_most = metadata.get("range", (None,) * 4)
    return (
        (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (below is None or value < below)
        and (at_most is None or value <= at_most)
    )


@dataclass(frozen=True)
class Key:
    """One row of `thrifty keys`."""

    name: str
    """Dotted path as written on the command line."""
    type: str
    unit: str
    default: str
    allowed: str
    meaning: str
    choice: str = ""
    """The choice the key belongs to, as `optimizer=adam`; empty where it always exists."""


def keys_of(node: type, values: dict[str, Any], path: str = "", choice: str = "") -> Iterator[Key]:
    """The leaf keys of a dataclass and of the dataclasses inside it, in order of declaration.

    Args:
        values: of the keys, as conf/ has them; a dataclass inside without values is left out.
    """
    hints = typing.get_type_hints(node)
    for item in dataclasses.fields(node):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint):
            if item.name in values:
                yield from keys_of(typing.cast(type, hint), values[item.name], f"{path}{item.name}.", choice)
        elif "meaning" in item.metadata:
            yield Key(
                name=f"{path}{item.name}",
                type=_type_name(hint),
                unit=item.metadata["unit"],
                default=item.metadata["null"] if values[item.name] is None else show(values[item.name]),
                allowed=_allowed(hint, item.metadata),
                meaning=item.metadata["meaning"],
                choice=choice,
            )


def show(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(show(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}: {show(one)}" for name, one in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parts(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [one for one in typing.get_args(hint) if one is not type(None)]
    return [hint]


_WORDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Any: "text or list of texts",
}


def _type_name(hint: Any) -> str:
    names, parts = [], _parts(hint)
    for one in parts:
        if one is int and float in parts:  # OmegaConf takes a whole number for a float only where both are named
            continue
        if typing.get_origin(one) is dict:
            names.append("mapping")
        elif typing.get_origin(one) is list:
            names.append(f"list of {_WORDS[typing.get_args(one)[0]]}s")
        elif isinstance(one, type) and issubclass(one, Enum):
            names.append("choice")
        else:
            names.append(_WORDS[one])
    return " or ".join(names)


def _allowed(hint: Any, metadata: Any) -> str:
    for one in _parts(hint):
        if isinstance(one, type) and issubclass(one, Enum):
            return ", ".join(one.__members__)
    return allowed_range(metadata)
