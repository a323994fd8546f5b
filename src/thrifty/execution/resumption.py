"""resume=RUN: which run goes on, and whether it may. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thrifty.config.compose import compose, plain
from thrifty.config.overrides import parse
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration
from thrifty.store import find_run, read_record


def resumed_run(config: Config, overrides: Sequence[str]) -> tuple[Path, Config, list[str]]:
    """The run that `resume` names: its directory, configuration and overrides.

    Args:
        config: what the overrides compose to.
        overrides: as typed, `resume` among them; the others may only repeat what the run was started with.

    Raises:
        BadConfiguration: no such run, one that is finished or diverged, or another configuration than it began with.
    """
    assert config.resume is not None
    path = find_run(Path(config.store), config.resume)
    record = read_record(path)
    given = f"resume={config.resume}"
    if record["status"] == "ok":
        raise BadConfiguration(f"{given}: is finished; checkpoint={record['id']} begins a new run from its weights")
    if record["status"] == "diverged":
        raise BadConfiguration(f"{given}: its loss ran away, and would again; start anew with a lower optimizer.lr")
    began: list[str] = record["overrides"]
    others = [one.input_line or "" for one in parse(overrides) if one.key_or_group not in ("resume", "store")]
    whole = compose(began)
    changed = _differences(plain(whole), plain(compose([*began, *others])))
    if changed:
        raise BadConfiguration(
            f"{given} {' '.join(others)}: a run goes on as it began, and {', '.join(changed)} would change; "
            f"leave that out, or begin a new run with checkpoint={record['id']}"
        )
    return path, whole, began


def _differences(first: dict[str, Any], second: dict[str, Any], path: str = "") -> list[str]:
    """Keys whose values differ."""
    found = []
    for name in {**first, **second}:
        left, right = first.get(name), second.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found += _differences(left, right, f"{path}{name}.")
        elif left != right:
            found.append(f"{path}{name}")
    return found
