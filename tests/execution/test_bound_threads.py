"""Whether OpenMP's threads keep their cores, and what else is said to fork servers: to them alone."""

from __future__ import annotations

import os

import pytest

from thrifty.execution import fork_server
from thrifty.execution.fork_server import told

POSIX = pytest.mark.skipif(not fork_server.fits(), reason="there are no fork servers here")


def test_it_is_said_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    with told(bind_threads=False):
        assert "OMP_PROC_BIND" not in os.environ
    with told(bind_threads=True, further={"THRIFTY_OF_A_TEST": "1"}):
        assert os.environ["OMP_PROC_BIND"] == "true"
        assert os.environ["THRIFTY_OF_A_TEST"] == "1"
    assert not {"OMP_PROC_BIND", "THRIFTY_OF_A_TEST"} & os.environ.keys()


@pytest.mark.parametrize("theirs", ["false", "spread"])
def test_what_the_user_has_said_stays(theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", theirs)
    for wanted in (True, False):
        with told(wanted):
            assert os.environ["OMP_PROC_BIND"] == theirs
        assert os.environ["OMP_PROC_BIND"] == theirs


def test_without_fork_servers_a_process_has_it_that_starts_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    with told(bind_threads=True):
        pass
    for fits, expected in ((False, "true"), (True, None)):
        monkeypatch.setattr(fork_server, "fits", lambda fits=fits: fits)
        with fork_server.told_by_itself():
            assert os.environ.get("OMP_PROC_BIND") == expected
        assert "OMP_PROC_BIND" not in os.environ


@POSIX
def test_processes_of_the_fork_server_have_it_when_it_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_PROC_BIND", raising=False)
    fork_server.renew()
    with told(bind_threads=True):
        fork_server.warm_up(fork_server.ARMS)
    context = fork_server.context(fork_server.ARMS)
    ours, theirs = context.Pipe()
    process = context.Process(target=_say, args=(theirs,))
    process.start()
    assert ours.recv() == "true"
    process.join()
    fork_server.renew()


def _say(connection: object) -> None:
    connection.send(os.environ.get("OMP_PROC_BIND"))  # pyright: ignore[reportAttributeAccessIssue]
