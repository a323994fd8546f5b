"""Grids by Hydra's own sweeper with launchers that are not ours: they run, and nothing is left beside the records."""

from __future__ import annotations

import json
import signal

import pytest

from conftest import QUIET, Cli
from thrifty.sweeps.by_hydra import _ended_by_signals

GRID = ("run", "-m", "hydra/sweeper=basic", "task=tabular", "optimizer=sgd,adam", "budget.steps=3", *QUIET)


def ended(cli: Cli) -> list[tuple[str, str]]:
    records = [json.loads((run / "result.json").read_text()) for run in cli.runs()]
    return sorted((record["config"]["optimizer"]["name"], record["status"]) for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_grid_makes_its_records_and_nothing_else(cli: Cli, launcher: str) -> None:
    cli(*GRID, f"hydra/launcher={launcher}")
    assert ended(cli) == [("adam", "ok"), ("sgd", "ok")]
    assert [one.name for one in cli.cwd.iterdir()] == ["results"]
    assert [one.name for one in cli.store.iterdir()] == ["runs"]


def test_a_job_that_fails_gives_its_exit_code(cli: Cli) -> None:
    done = cli(*GRID, "hydra/launcher=joblib", "task.path=missing.csv", code=4)
    assert done.stderr.count("error: missing.csv: there is no such file") == 2
    assert not cli.store.exists()


def test_a_launcher_that_is_not_there_says_what_to_install(cli: Cli) -> None:
    """Of ray, which is not installed with the tests."""
    message = cli.refused(*GRID, "hydra/launcher=ray", code=2)
    assert message == "hydra/launcher=ray: is not installed; pip install hydra-ray-launcher"


@pytest.mark.parametrize("handler", [lambda number, frame: None, signal.SIG_IGN])
def test_a_signal_ends_the_launcher_and_nobody_else(handler: signal.Handlers) -> None:
    """As an exception it would have joblib kill the runs, which a signal lets end at a safe place."""
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with _ended_by_signals():
            assert signal.getsignal(signal.SIGTERM) is (signal.SIG_IGN if handler is signal.SIG_IGN else signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
