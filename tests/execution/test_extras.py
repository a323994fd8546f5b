"""Optional extras: what of each is here, and what installs the rest."""

from __future__ import annotations

import importlib.metadata

import pytest

from thrifty.execution import extras as module
from thrifty.execution.extras import Extra, by_extra, extras, package_name

REQUIREMENTS = [
    "torch<2.14,>=2.11",
    "pyarrow>=20; extra == 'parquet'",
    'no-such-package[fast]>=3 ; extra == "parquet"',
    "pytest>=9; python_version >= '3.11' and extra == 'dev'",
    "thrifty[parquet]; extra == 'dev'",
]


def test_requirements_are_sorted_by_the_extra_that_asks_for_them() -> None:
    assert by_extra(REQUIREMENTS) == {"parquet": ["pyarrow>=20", "no-such-package[fast]>=3"], "dev": ["pytest>=9"]}


@pytest.mark.parametrize("requirement", ["pyright[nodejs]>=1.1", "pyright", "pyright (>=1)", "pyright<2,>=1"])
def test_a_requirement_names_its_package(requirement: str) -> None:
    assert package_name(requirement) == "pyright"


def test_what_is_missing_comes_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name.startswith("no-such"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIREMENTS)
    monkeypatch.setattr(importlib.metadata, "version", version)
    dev, parquet = extras()
    assert dev == Extra("dev", {"pytest": "1.2"}, [], None)
    assert parquet == Extra(
        "parquet", {"pyarrow": "1.2"}, ["no-such-package[fast]>=3"], "pip install -e '.[parquet]' -c constraints.txt"
    )


def test_outside_a_source_tree_the_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages/thrifty/execution/extras.py"))
    assert module.install_line("parquet", ["pyarrow>=20", "zstandard"]) == "pip install 'pyarrow>=20' zstandard"


def test_a_package_that_is_not_installed_has_no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert extras() == []
