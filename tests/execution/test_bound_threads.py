"""Whether OpenMP's threads keep their cores: said for fork servers yet to start, and taken back."""

from __future__ import annotations

import os

import pytest

from thrifty.execution.fork_server import bind_threads


def test_it_is_said_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    bind_threads(False)
    assert "OMP_PROC_BIND" not in os.environ
    bind_threads(True)
    bind_threads(True)
    assert os.environ["OMP_PROC_BIND"] == "true"
    bind_threads(False)
    assert "OMP_PROC_BIND" not in os.environ


@pytest.mark.parametrize("theirs", ["false", "spread"])
def test_what_the_user_has_said_stays(theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", theirs)
    for wanted in (True, False):
        bind_threads(wanted)
        assert os.environ["OMP_PROC_BIND"] == theirs
