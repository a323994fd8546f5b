"""A first look at the overrides, before Hydra composes them: keys and choices by name, with the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from thrifty.config.key import Key
from thrifty.config.registry import CHOICES, ONLY_WITH
from thrifty.config.table import all_keys
from thrifty.config.values import default_choice
from thrifty.errors import BadConfiguration, nearest


def parse(overrides: Sequence[str]) -> list[Override]:
    """The overrides by Hydra's grammar.

    Raises:
        BadConfiguration: at the first that is not `key=value`.
    """
    parsed = []
    for text in overrides:
        try:
            parsed.append(OverridesParser.create().parse_override(text))
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise BadConfiguration(
                f"{text}: is not an override: {reason}; write key=value, and quote values with special characters: 'key=\"a,b\"'"
            ) from error
    return parsed


def check_overrides(overrides: Sequence[str]) -> None:
    """Hold keys and choices to the schema.

    Raises:
        BadConfiguration: for an unknown key or choice, or several values outside a sweep.
    """
    parsed = parse(overrides)
    chosen = {one.key_or_group: str(one.value()) for one in parsed if one.key_or_group in CHOICES}
    for one in parsed:  # first, as a key is looked up with the choice that it belongs to
        if one.key_or_group in CHOICES and not one.is_sweep_override() and not one.is_delete():
            _check_choice(one)
    for one in parsed:
        name = one.key_or_group
        if name == "hydra" or name.startswith(("hydra.", "hydra/")):
            continue
        text = one.input_line or name
        if name == "sweeps" or name.startswith("sweep."):
            raise BadConfiguration(f"{text}: is of many experiments, not of one; add -m")
        if one.is_sweep_override():
            raise BadConfiguration(f"{text}: gives several values; add -m to run one experiment for each")
        if one.is_delete():
            raise BadConfiguration(f"{text}: keys cannot be removed; set the value you want instead, or null")
        _check_method(name, text, chosen)
        if name not in CHOICES:
            _check_key(name, text, chosen)


def _check_choice(one: Override) -> None:
    name, value = one.key_or_group, "null" if one.value() is None else str(one.value())
    if value not in CHOICES[name]:
        allowed = ", ".join(CHOICES[name])
        raise BadConfiguration(
            f"{name}={value}: there is no such {name}; choose one of {allowed}{nearest(value, CHOICES[name])}"
        )


def _check_method(name: str, text: str, chosen: dict[str, str]) -> None:
    wanted, method = ONLY_WITH.get(name.split(".")[0]), chosen.get("method") or default_choice("method")
    if wanted is not None and method not in wanted:
        raise BadConfiguration(
            f"{text}: goes with method={' or '.join(wanted)} only, this is method={method}; add method={' or method='.join(wanted)}"
        )


def _check_key(name: str, text: str, chosen: dict[str, str]) -> None:
    known = _by_name()
    group, _, last = name.rpartition(".")
    if last == "name" and group in CHOICES:
        raise BadConfiguration(f"{text}: the name is set by the choice; write {group}={text.partition('=')[2]} instead")
    if name not in known:
        if any(other.startswith(f"{name}.") for other in known):
            raise BadConfiguration(f"{text}: {name} is a group of keys; set them one by one, see `thrifty keys {name}`")
        raise BadConfiguration(f"{text}: there is no key '{name}'{_nearest_key(name, known)} (all keys: `thrifty keys`)")
    owners = {key.choice for key in known[name]}
    group = name.split(".")[0]
    if "" in owners:
        return
    choice = f"{group}={chosen.get(group) or default_choice(group, chosen.get('task'))}"
    if choice not in owners:
        in_order = [owner for owner in (f"{group}={one}" for one in CHOICES[group]) if owner in owners]
        like = min(owners, key=lambda owner: (-difflib.SequenceMatcher(None, owner, choice).ratio(), owner))  # adamw for adam
        alone = f"add {like}" if group not in chosen else f"it belongs to {', '.join(in_order)}"
        raise BadConfiguration(f"{text}: {choice} has no such key; {alone}")


@lru_cache(maxsize=1)
def _by_name() -> dict[str, list[Key]]:
    table: dict[str, list[Key]] = {}
    for key in all_keys():
        table.setdefault(key.name, []).append(key)
    return table


def _nearest_key(name: str, known: dict[str, list[Key]]) -> str:
    names = list(known)
    suggestion = nearest(name, names)
    if suggestion:
        return suggestion
    # `learning_rate`, `dropout`, `lr`: the last word alone is often right, its place is not.
    last = name.split(".")[-1]
    same = [other for other in names if other.split(".")[-1] == last] or [
        other for other in names if difflib.SequenceMatcher(None, last, other.split(".")[-1]).ratio() > 0.75
    ]
    return f"; did you mean '{same[0]}'?" if same else ""
