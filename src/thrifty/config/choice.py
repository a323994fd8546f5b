"""A choice's own configuration from plain values, as a file holds them. Imports neither Hydra nor OmegaConf."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import Enum
from typing import Any

from thrifty.config.registry import CHOICES


def choice_of(group: str, values: dict[str, Any]) -> Any:
    """A choice's own configuration from the plain values of all its keys, `name` among them.

    Raises:
        KeyError: no such choice.
        TypeError: a key too many or too few, or a value of another type.
    """
    return typed(CHOICES[group][values["name"]].schema, values, group)


def typed(schema: type, values: dict[str, Any], path: str) -> Any:
    """A dataclass from the plain values of all its fields; `path` leads their names in errors.

    Raises:
        TypeError: a key too many or too few, or a value of another type.
    """
    hints = typing.get_type_hints(schema)
    names = [item.name for item in dataclasses.fields(schema)]
    for name in values:
        if name not in names:
            raise TypeError(f"{schema.__name__} has no key {name!r}")
    return schema(**{name: _held(value, hints[name], f"{path}.{name}") for name, value in values.items()})


def _held(value: Any, hint: Any, name: str) -> Any:
    """The value as its type has it: enums by name, whole numbers where any number will do.

    Raises:
        TypeError: it is of none of the types allowed.
    """
    allowed = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for one in allowed:
        if one is Any or (value is None and one is types.NoneType):
            return value
        if typing.get_origin(one) is list and isinstance(value, (list, tuple)):
            (kind,) = typing.get_args(one)
            return [_held(item, kind, name) for item in value]
        if dataclasses.is_dataclass(one) and isinstance(value, dict):
            return typed(typing.cast(type, one), value, name)
        if typing.get_origin(one) is dict and isinstance(value, dict):
            return value
        if isinstance(one, type) and issubclass(one, Enum):
            if isinstance(value, one):
                return value
            if isinstance(value, str) and value in one.__members__:
                return one[value]
        elif one is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        elif one in (int, str, bool) and type(value) is one:
            return value
    raise TypeError(f"{name}={value!r} is not of a type allowed there")
