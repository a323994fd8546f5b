"""Which experiments need at least as much memory as another, by their keys alone."""

from __future__ import annotations

from collections.abc import Mapping

from thrifty.config.schema import ModelSize

_SIZES = tuple(ModelSize.__members__)
_MORE_TAKES_MORE = ("batch_size", "model", "architecture.width", "architecture.depth", "architecture.context")
"""Keys of which a larger value, all others being equal, never takes less."""


def needs_as_much(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Whether the first certainly needs at least as much memory as the second: never where they differ in a key that says nothing of it.

    Args:
        first, second: values, as they are typed, of the same keys.
    """
    return all(value == second[key] or _is_more(key, value, second[key]) for key, value in first.items())


def _is_more(key: str, value: str, other: str) -> bool:
    if key not in _MORE_TAKES_MORE:
        return False
    if key == "model":
        return value in _SIZES and other in _SIZES and _SIZES.index(value) > _SIZES.index(other)
    try:
        return float(value) > float(other)
    except ValueError:  # `auto`, `full`
        return False
