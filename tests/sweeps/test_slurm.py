"""Sweeps through a real SLURM of two nodes: what it runs, preempts, cancels and kills ends in a right record."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from slurm_cluster import SlurmCluster, missing_programs, started_cluster

from conftest import QUIET, Cli

COMMON = ("task=tabular", "optimizer=sgd,adam", "budget.steps=3", *QUIET)


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[SlurmCluster]:
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed ({', '.join(missing)}): apt-get install slurmctld slurmd slurm-client munge")
    with started_cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm(running_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """Two idle nodes, whatever an earlier test has left."""
    running_cluster.clear()
    yield running_cluster
    running_cluster.clear()


def records(cli: Cli) -> list[dict[str, object]]:
    return [json.loads((run / "result.json").read_text()) for run in cli.runs()]


def test_hydra_s_own_launcher_for_it_runs_a_grid(cli: Cli, slurm: SlurmCluster) -> None:
    plain = ("hydra/sweeper=basic", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20")
    cli("run", "-m", *plain, *COMMON, **slurm.environment)
    assert sorted((one["config"]["optimizer"]["name"], one["status"]) for one in records(cli)) == [
        ("adam", "ok"),
        ("sgd", "ok"),
    ]  # type: ignore[index]
    assert [one.name for one in cli.store.iterdir()] == ["runs"]
    assert set(slurm.jobs().values()) == {"COMPLETED"}
