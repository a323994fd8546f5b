"""What a sweep varies, as Hydra's grammar has it: choice, range, interval, glob."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep

from thrifty.config.overrides import parse
from thrifty.config.registry import CHOICES, ONLY_WITH
from thrifty.errors import BadConfiguration


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included: all, all whole ones, or those in steps."""

    low: float
    high: float
    whole: bool
    log: bool = False
    step: float | None = None

    def text(self, value: float) -> str:
        """A number of it as it is typed."""
        return str(int(value)) if self.whole else repr(float(value))


@dataclass(frozen=True)
class Dimension:
    """A key that varies."""

    key: str
    values: tuple[str, ...]
    """Each as it is typed after `=`; none where it is continuous."""
    numbers: Interval | None = None
    """What the values are, where they are numbers in order."""
    typed: str = field(default="", compare=False)
    """The override."""


@dataclass(frozen=True)
class Space:
    """Overrides, some of which vary, in the order typed."""

    parts: tuple[str | Dimension, ...]

    @property
    def dimensions(self) -> list[Dimension]:
        """What varies."""
        return [one for one in self.parts if isinstance(one, Dimension)]

    def grid(self) -> list[list[str]]:
        """The overrides of each experiment, the last key's values changing fastest, as Hydra users expect.

        Raises:
            BadConfiguration: a range over a continuous interval, which a grid cannot walk.
        """
        for one in self.dimensions:
            if not one.values:
                raise BadConfiguration(
                    f"{one.typed}: a grid needs values to walk through; give choice(...) or range(...), or search it: sweeps=NAME"
                )
        options = [[one] if isinstance(one, str) else [f"{one.key}={value}" for value in one.values] for one in self.parts]
        return [list(one) for one in itertools.product(*options)]

    def searched(self) -> Space:
        """Without what varies and does not go with the one method there is, as a file that varies the method has it."""
        methods = [one.partition("=")[2] for one in self.parts if isinstance(one, str) and one.startswith("method=")]
        kept = [
            one for one in self.parts if isinstance(one, str) or all(each in _methods_of(one.key, each) for each in methods)
        ]
        return Space(tuple(kept))

    def point(self, values: Mapping[str, str]) -> list[str]:
        """The overrides of the experiment in which each key that varies is as given.

        Where the method varies, keys that do not go with the one chosen are left out: `pruner` of a `method=quantize`.
        """
        method = values.get("method")
        return [
            one if isinstance(one, str) else f"{one.key}={values[one.key]}"
            for one in self.parts
            if _goes_with(one if isinstance(one, str) else one.key, method)
        ]


def label(values: Mapping[str, str]) -> str:
    """What an experiment is called among others of its search, without keys that its method leaves out."""
    return " ".join(f"{key}={value}" for key, value in values.items() if _goes_with(key, values.get("method")))


def _goes_with(override: str, method: str | None) -> bool:
    return method is None or method in _methods_of(override, method)


def _methods_of(override: str, method: str) -> tuple[str, ...]:
    """Methods that an override, or a key, goes with; of most that is any, and so the one given."""
    return ONLY_WITH.get(override.lstrip("+~").partition("=")[0].partition(".")[0], (method,))


def space_of(overrides: Sequence[str]) -> Space:
    """The space that overrides span; a key that is given again replaces what it was before.

    Raises:
        BadConfiguration: what is no override, a glob that matches nothing or is of no choice, an interval without numbers.
    """
    last: dict[str, Override] = {}
    for one in parse(overrides):
        last.pop(one.key_or_group, None)
        last[one.key_or_group] = one
    return Space(tuple(_dimension(one) if one.is_sweep_override() else one.input_line or "" for one in last.values()))


def _dimension(override: Override) -> Dimension:
    key, value, text = override.get_key_element(), override.value(), override.input_line
    if isinstance(value, Glob):
        names = CHOICES.get(override.key_or_group)
        if names is None:
            raise BadConfiguration(f"{text}: glob(...) goes with choices: {', '.join(CHOICES)}; give the values one by one")
        matched = value.filter(list(names))
        if not matched:
            raise BadConfiguration(f"{text}: matches none of {', '.join(names)}; widen the pattern")
        return Dimension(key, tuple(matched))
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        if not value.start < value.end:
            raise BadConfiguration(f"{text}: holds nothing; give the smaller end first")
        if "log" in value.tags and value.start <= 0:
            raise BadConfiguration(f"{text}: a logarithmic interval begins above 0")
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return Dimension(key, (), Interval(value.start, value.end, whole, "log" in value.tags), text or key)
    values = tuple(override.sweep_string_iterator())
    if not values:
        raise BadConfiguration(f"{text}: holds no value")
    return Dimension(key, values, _numbers(value, values) if isinstance(value, RangeSweep) else None)


def _numbers(value: RangeSweep, values: tuple[str, ...]) -> Interval | None:
    if value.shuffle or value.step is None or value.step <= 0:
        return None
    whole = all(isinstance(one, int) for one in (value.start, value.stop, value.step))
    ends = float(values[0]), float(values[-1])
    return Interval(*ends, whole, "log" in value.tags, value.step) if ends[0] < ends[1] else None
