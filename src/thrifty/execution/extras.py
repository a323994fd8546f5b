"""The optional extras of this installation: what of each is here, and the line that installs the rest."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)[^;]*;.*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")


@dataclass(frozen=True)
class Extra:
    """One of `pip install thrifty[NAME]`."""

    name: str
    installed: dict[str, str]
    """Version of each of its packages that is here; whether the version will do is pip's to say."""
    missing: list[str]
    """What it needs that is not here, as pip takes it."""
    install: str | None
    """The line that installs them; None where nothing is missing."""


def extras() -> list[Extra]:
    """Every extra that the installed package declares; none where it is not installed but only on the path."""
    try:
        requirements = importlib.metadata.requires("thrifty") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [_extra(name, needed) for name, needed in sorted(by_extra(requirements).items())]


def by_extra(requirements: list[str]) -> dict[str, list[str]]:
    """Requirements (`pyarrow>=20; extra == 'parquet'`) by the extra that asks for them, without that condition."""
    found: dict[str, list[str]] = {}
    for line in requirements:
        parts = _REQUIREMENT.match(line)
        if parts is not None and parts["name"] != "thrifty":  # an extra may be made of others of ours
            found.setdefault(parts["extra"], []).append(line.partition(";")[0].strip())
    return found


def package_name(requirement: str) -> str:
    """`pyright` of `pyright[nodejs]>=1.1`."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _extra(name: str, needed: list[str]) -> Extra:
    versions = {one: _version(package_name(one)) for one in needed}
    installed = {package_name(one): version for one, version in versions.items() if version is not None}
    missing = [one for one, version in versions.items() if version is None]
    return Extra(name, installed, missing, install_line(name, missing) if missing else None)


def install_line(name: str, missing: list[str]) -> str:
    """From a source tree the extra itself, held to the versions we test with; else the packages by their names."""
    root = Path(__file__).resolve().parents[3]
    if (root / "pyproject.toml").is_file() and (root / "constraints.txt").is_file():
        return f"pip install -e '.[{name}]' -c constraints.txt"
    return f"pip install {shlex.join(missing)}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
