"""`sweeps=NAME` and `sweep.KEY=VALUE`: the settings of a sweep, and the overrides that its experiments begin with. Imports no Hydra."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thrifty.config.choice import typed
from thrifty.config.key import check, keys_of, show
from thrifty.config.paths import sweeps_directory
from thrifty.config.sweep import Sweep
from thrifty.config.values import sweep_values
from thrifty.errors import BadConfiguration, BadData, nearest

_SETTING, _FILE = "sweep.", "sweeps"


@dataclass(frozen=True)
class SweepFile:
    """A sweep as it was asked for."""

    name: str | None
    """Of its file; None is a grid."""
    settings: Sweep
    overrides: tuple[str, ...]
    """Of the file, then of the command line: a later one counts."""


def sweep_of(arguments: Sequence[str]) -> SweepFile:
    """What the arguments after `-m` ask for.

    Raises:
        BadConfiguration: no such sweep or setting, or a value that is not allowed.
        BadData: a file of a sweep that cannot be read.
    """
    own = [one for one in arguments if _key(one) == _FILE]
    if len(own) > 1:
        raise BadConfiguration(f"{own[1]}: one search at a time; give a single sweeps=NAME")
    name = own[0].partition("=")[2] if own else None
    values, overrides = (dict(sweep_values()), []) if name is None else _read(name)
    for one in arguments:
        if _key(one).startswith(_SETTING):
            values = _merged(values, _setting(one))
        elif _key(one) != _FILE:
            overrides.append(one)
    settings = _typed(values)
    if settings.into is not None:
        raise BadConfiguration(
            f"sweep.into={settings.into}: is of one experiment, and -m of many; give sweep.resume=DIR, or leave -m out"
        )
    return SweepFile(name, settings, tuple(overrides))


def into_of(overrides: Sequence[str]) -> tuple[str | None, list[str]]:
    """Of one experiment's overrides the directory of the sweep that it belongs to, and the others.

    Raises:
        BadConfiguration: it names none.
    """
    given = [one for one in overrides if _key(one) == f"{_SETTING}into"]
    others = [one for one in overrides if one not in given]
    if not given:
        return None, others
    into = _setting(given[-1])["into"]
    if not isinstance(into, str) or not into:
        raise BadConfiguration(f"{given[-1]}: must be a directory, such as sweep.into=results/sweeps/mine")
    return into, others


def names_a_search(arguments: Sequence[str]) -> bool:
    """Whether the arguments after `-m` ask for a search, and not for a grid."""
    return any(_key(one) == _FILE for one in arguments)


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0].strip()


def _read(name: str) -> tuple[dict[str, Any], list[str]]:
    path, shipped = Path(name), sorted(one.stem for one in sweeps_directory().glob("*.yaml"))
    if path.suffix != ".yaml":
        path = sweeps_directory() / f"{name}.yaml"
        if name not in shipped:
            raise BadConfiguration(
                f"sweeps={name}: there is no such search; choose one of {', '.join(shipped)}{nearest(name, shipped)}, or name a file: "
                "sweeps=my/search.yaml"
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(f"sweeps={name}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadData(f"sweeps={name}: is not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict) or not set(content) <= {"sweep", "overrides"}:
        raise BadData(
            f"sweeps={name}: has to hold `sweep:`, its settings, and `overrides:`, a list of what its experiments are"
        )
    given, overrides = content.get("sweep") or {}, content.get("overrides") or []
    if not isinstance(given, dict) or not isinstance(overrides, list):
        raise BadData(f"sweeps={name}: `sweep:` holds settings by name, and `overrides:` is a list")
    for key in _leaves(given):
        _known(key, f"sweeps={name}: sweep.{key}")
    return _merged(sweep_values(), given), [str(one) for one in overrides]


def _setting(override: str) -> dict[str, Any]:
    name, _, text = override.partition("=")
    key = name.removeprefix(_SETTING)
    _known(key, override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadConfiguration(f"{override}: cannot be read; quote what has special characters") from error
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _known(key: str, given: str) -> None:
    names = [one.name.removeprefix(_SETTING) for one in keys_of(Sweep, sweep_values(), _SETTING)]
    if key not in names:
        groups = {one.rpartition(".")[0] for one in names} - {""}
        if key in groups:
            raise BadConfiguration(
                f"{given}: is a group of settings; give one of them, such as {_SETTING}{_first(names, key)}=..."
            )
        raise BadConfiguration(f"{given}: there is no such setting of a sweep{nearest(key, names)}; see `thrifty keys sweep`")


def _first(names: list[str], group: str) -> str:
    return next(one for one in names if one.startswith(f"{group}."))


def _groups() -> list[str]:
    """Settings that hold settings."""
    return [
        item.name for item in dataclasses.fields(Sweep) if dataclasses.is_dataclass(typing.get_type_hints(Sweep)[item.name])
    ]


def _leaves(given: dict[str, Any]) -> list[str]:
    """The settings that a file gives, those inside a group by their dotted names."""
    found = []
    for name, value in given.items():
        inside = isinstance(value, dict) and name in _groups()
        found += [f"{name}.{one}" for one in value] if inside else [str(name)]
    return found


def _merged(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Settings, of which those given later count; inside a group one by one."""
    return before | {
        name: {**before[name], **value} if name in _groups() and isinstance(value, dict) else value
        for name, value in given.items()
    }


def _texts(written: Any) -> list[Any]:
    """An objective or constraint as text: `validation/accuracy: maximize` is a mapping to YAML."""
    return [f"{name}: {way}" for name, way in written.items()] if isinstance(written, dict) else [written]


def _typed(values: dict[str, Any]) -> Sweep:
    for name in ("objectives", "constraints"):
        several = values[name] if isinstance(values[name], list) else [values[name]]
        values[name] = [text for one in several for text in _texts(one)]
    try:
        settings: Sweep = typed(Sweep, values, "sweep")
    except TypeError as error:
        name = str(error).partition("=")[0]
        key = next(one for one in keys_of(Sweep, sweep_values(), _SETTING) if one.name == name)
        wanted = f"one of {key.allowed}" if key.type == "choice" else key.type + (f", {key.allowed}" if key.allowed else "")
        raise BadConfiguration(
            f"{name}={show(_value(values, name.removeprefix(_SETTING)))}: is not allowed; must be {wanted}; see `thrifty keys {name}`"
        ) from error
    check(settings, _SETTING)
    return settings


def _value(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values
