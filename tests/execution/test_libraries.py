"""What native libraries are told, and that a user's own word stands."""

from __future__ import annotations

import os

import pytest

from thrifty.execution import libraries


@pytest.fixture
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in libraries.SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("nothing_told")
def test_everything_is_told_and_stands_in_the_record_and_telling_it_again_changes_nothing() -> None:
    for _ in range(2):
        libraries.prepare()
        assert {name: os.environ[name] for name in libraries.SETTINGS} == libraries.SETTINGS
    assert libraries.in_force()["gomp_spincount"] == "1000"


@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "0")])
def test_how_threads_wait_is_the_users_as_a_whole(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    libraries.prepare()
    assert {one: os.environ[one] for one in libraries.WAITING if one in os.environ} == {name: value}
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == libraries.SETTINGS["MALLOC_TRIM_THRESHOLD_"]
