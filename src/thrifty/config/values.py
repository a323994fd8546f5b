"""The values of conf/, read as plain YAML: for help and tables, which must not wait for Hydra."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from thrifty.config.paths import conf_directory
from thrifty.config.registry import ONLY_WITH


@cache
def _file(name: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((conf_directory() / name).read_text(encoding="utf-8"), Loader=loader)


def root_values() -> dict[str, Any]:
    """Values of the keys that exist whatever is chosen."""
    return {name: value for name, value in _file("config.yaml").items() if name not in ("defaults", "hydra")}


def sweep_values() -> dict[str, Any]:
    """Values of the keys of a sweep."""
    return _file("sweep.yaml")


def choice_values(group: str, name: str) -> dict[str, Any]:
    """Values of the keys of one choice."""
    values = {key: value for key, value in _file(f"{group}/{name}.yaml").items() if key != "defaults"}
    return values[group] if isinstance(values.get(group), dict) else values  # a task's file also changes other keys' defaults


def default_choice(group: str, task: str | None = None) -> str:
    """What a group is unless told otherwise, with a task or with the default one; of a group that goes with one method, with that."""
    chosen = _chosen("config.yaml")
    chosen |= _chosen(f"task/{task or chosen['task']}.yaml")
    return chosen[group] if group in chosen else _chosen(f"method/{ONLY_WITH[group][0]}.yaml")[group]


def _chosen(name: str) -> dict[str, str]:
    """The choices that a file's defaults list makes."""
    pairs = [pair for one in _file(name)["defaults"] if isinstance(one, dict) for pair in one.items()]
    return {group.split()[-1].lstrip("/"): name for group, name in pairs}
