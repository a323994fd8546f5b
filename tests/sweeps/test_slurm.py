"""Sweeps through a real SLURM of two nodes: what it runs, preempts, cancels and kills ends in a right record."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import SlurmCluster, missing_programs, started_cluster, wait_for

from conftest import QUIET, Cli

pytestmark = pytest.mark.slow  # a cluster of one's own, and jobs that wait for their turn: minutes

SHORT = ("task=tabular", "budget.steps=3", *QUIET)
LONG = ("task=tabular", "budget.steps=1000000", *QUIET)
ON_IT = ("run", "-m", "sweep.where=slurm", "sweep.slurm.poll_s=1", "sweep.slurm.timeout_min=30")
PATIENCE = 150.0
"""Seconds that a job may take to begin on a busy machine."""


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


def records(cli: Cli) -> list[dict[str, Any]]:
    return [json.loads((run / "result.json").read_text()) for run in cli.runs() if not run.name.startswith(".")]


def statuses(cli: Cli) -> list[str]:
    return [one["status"] for one in records(cli)]


@contextlib.contextmanager
def going_on(cli: Cli, *words: str, slurm: SlurmCluster) -> Iterator[subprocess.Popen[str]]:
    """A command line that is at work, and is gone afterwards."""
    process = cli.popen(*words, **slurm.environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_training(cli: Cli, number: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many runs train, with a checkpoint each."""

    def training() -> bool:
        assert process.poll() is None, process.communicate()
        return len(list(cli.store.glob("sweeps/*/*/checkpoint*"))) >= number

    wait_for(training, PATIENCE)


def ended(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, output + errors
    return output, errors


def pids(job: str) -> list[int]:
    """Of the processes of a job that submitit has started."""
    number, _, task = job.partition("_")
    wanted = f"SLURM_ARRAY_JOB_ID={number}" if task else f"SLURM_JOB_ID={number}"
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (one / "environ").read_bytes().decode(errors="replace").split("\0")
            if (
                wanted in environment
                and (not task or f"SLURM_ARRAY_TASK_ID={task}" in environment)
                and b"submitit.core._submit" in (one / "cmdline").read_bytes()
                and b"srun" not in (one / "cmdline").read_bytes()
            ):
                found.append(int(one.name))
    return found


def test_hydra_s_own_launcher_for_it_runs_a_grid(cli: Cli, slurm: SlurmCluster) -> None:
    plain = ("hydra/sweeper=basic", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=20")
    cli("run", "-m", *plain, "optimizer=sgd,adam", *SHORT, **slurm.environment)
    assert sorted((one["config"]["optimizer"]["name"], one["status"]) for one in records(cli)) == [
        ("adam", "ok"),
        ("sgd", "ok"),
    ]
    assert [one.name for one in cli.store.iterdir()] == ["runs"]


def test_a_grid_is_one_array(cli: Cli, slurm: SlurmCluster) -> None:
    before = set(slurm.jobs())
    done = cli(*ON_IT, "optimizer=sgd,adam", "sweep.slurm.mem_gb=0.5", *SHORT, **slurm.environment)
    assert statuses(cli) == ["ok", "ok"]
    assert [one.name for one in cli.store.iterdir()] == ["sweeps"], "nothing is left of submitit's"
    assert "2 records in results/sweeps/" in done.stdout
    jobs = sorted(set(slurm.jobs()) - before)
    assert [one.partition("_")[2] for one in jobs] == ["0", "1"]
    assert len({one.partition("_")[0] for one in jobs}) == 1


def test_a_search_has_as_many_jobs_at_a_time_as_asked_for(cli: Cli, slurm: SlurmCluster) -> None:
    (cli.cwd / "mine.yaml").write_text(
        "sweep: {objectives: ['validation/loss: minimize'], n_trials: 3, parallel: 2, where: slurm, slurm: {poll_s: 1.0, name: mine}}\n"
        "overrides: [task=tabular, 'optimizer.lr=tag(log, interval(1e-4, 1e-1))', budget.steps=3]\n"
    )
    before = set(slurm.jobs())
    done = cli("run", "-m", "sweeps=mine.yaml", *QUIET, **slurm.environment)
    assert statuses(cli) == ["ok"] * 3
    assert "3 trials; in results/sweeps/" in done.stdout
    names = slurm.command("squeue", "-h", "-t", "all", "-o", "%i %j").splitlines()
    assert {one.split()[1] for one in names if one.split()[0] not in before} == {"mine"}


def test_what_is_preempted_is_queued_again_and_goes_on(cli: Cli, slurm: SlurmCluster) -> None:
    with going_on(cli, *ON_IT, "budget.seconds=10", "train.checkpoints=0.1", *LONG, slurm=slurm) as process:
        wait_until_training(cli, 1, process)
        (first,) = records(cli)
        slurm.command("sbatch", "-p", "high", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
        wait_for(lambda: statuses(cli) == ["preempted"], 60)
        ended(process, 0)
    (last,) = records(cli)
    assert (last["status"], last["id"]) == ("ok", first["id"]), "one record, in the directory it began with"
    assert last["attempt"]["token"] != first["attempt"]["token"]
    assert "budget_reached" in last["flags"]


def test_what_is_cancelled_or_killed_says_so_and_ends_no_other(cli: Cli, slurm: SlurmCluster) -> None:
    with going_on(cli, *ON_IT, "seed=1,2,3", "budget.seconds=12", "train.checkpoints=0.1", *LONG, slurm=slurm) as process:
        wait_until_training(cli, 3, process)
        array = next(iter(slurm.open_jobs())).partition("_")[0]
        slurm.command("scancel", f"{array}_0")
        (victim,) = pids(f"{array}_1")
        os.kill(victim, signal.SIGKILL)
        _, errors = ended(process, 5)
    by_seed = {one["seed"]: one for one in records(cli)}
    assert len(records(cli)) == 3
    assert {seed: one["status"] for seed, one in by_seed.items()} == {1: "killed", 2: "killed", 3: "ok"}
    assert by_seed[1]["reason"].startswith(f"SLURM's job {array}_0 was cancelled (scancel)")
    assert by_seed[2]["reason"].startswith(f"SLURM's job {array}_1 died (FAILED)")
    assert errors.count("goes on") == 0, "what was ended on purpose is not tried again"


def test_a_sweep_that_is_stopped_leaves_no_job_and_goes_on(cli: Cli, slurm: SlurmCluster) -> None:
    """One that trains saves; one that waits does not begin."""
    typed = (*ON_IT, "seed=1,2", "budget.seconds=8", "train.checkpoints=0.1", *LONG)
    with going_on(cli, *typed, "sweep.slurm.array_parallelism=1", slurm=slurm) as process:
        wait_until_training(cli, 1, process)
        process.send_signal(signal.SIGTERM)
        ended(process, 143)
    assert slurm.open_jobs() == {}
    assert statuses(cli) == ["preempted"]
    (sweep,) = (cli.store / "sweeps").iterdir()
    (first,) = records(cli)
    cli(*typed, f"sweep.resume={sweep.name}", **slurm.environment)
    assert [(one["seed"], one["status"]) for one in records(cli)] == [(1, "ok"), (2, "ok")]
    assert records(cli)[0]["id"] == first["id"]


def test_an_orphan_of_a_lost_node_never_writes_its_successor_s_record(cli: Cli, slurm: SlurmCluster) -> None:
    with going_on(cli, *ON_IT, "budget.seconds=40", "train.checkpoints=0.1", *LONG, slurm=slurm) as process:
        wait_until_training(cli, 1, process)
        (orphan,) = records(cli)
        job = next(iter(slurm.open_jobs()))
        node = slurm.command("squeue", "-h", "-j", job, "-o", "%N")
        slurm.kill_node(node)
        slurm.command("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")
        wait_for(lambda: len(records(cli)) == 2, PATIENCE)
        os.kill(orphan["attempt"]["pid"], 0)
        assert statuses(cli) == ["running", "running"]
        successor = records(cli)[1]
        assert successor["attempt"]["token"] != orphan["attempt"]["token"]
        wait_for(lambda: records(cli)[0]["status"] == "ok", PATIENCE)  # and brings back what nobody waits for any more
        assert process.poll() is None
        output, _ = ended(process, 0)
    first, second = records(cli)
    assert (first["id"], first["attempt"]) == (orphan["id"], orphan["attempt"])
    assert (second["id"], second["attempt"]) == (successor["id"], successor["attempt"])
    assert second["status"] == "ok"
    assert "1 records in" in output


def test_a_time_limit_says_so_and_a_longer_one_goes_on(cli: Cli, slurm: SlurmCluster) -> None:
    typed = (*ON_IT, "budget.seconds=75", "train.checkpoints=1", *LONG)
    limit = ("sweep.slurm.timeout_min=1", "sweep.slurm.signal_delay_s=20")
    done = cli(*typed, *limit, code=5, limit=200, **slurm.environment)
    (first,) = records(cli)
    assert first["status"] == "preempted"
    assert first["reason"].startswith("SLURM's time limit of 1 min was reached")
    assert "1/1 " in done.stderr
    (sweep,) = (cli.store / "sweeps").iterdir()
    cli(*typed, f"sweep.resume={sweep.name}", limit=200, **slurm.environment)
    (last,) = records(cli)
    assert (last["status"], last["id"]) == ("ok", first["id"])


def test_two_tasks_on_two_nodes_train_one_model(cli: Cli, slurm: SlurmCluster) -> None:
    meeting = "sweep.slurm.setup=[export MASTER_ADDR=127.0.0.1]"  # the names of these nodes lead nowhere
    cli(*ON_IT, "devices=2", "device=cpu", "sweep.slurm.nodes=2", meeting, *SHORT, limit=100, **slurm.environment)
    (one,) = records(cli)
    assert one["status"] == "ok"
    (sweep,) = (cli.store / "sweeps").iterdir()
    assert [run.name for run in sweep.iterdir()] == [one["id"]]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("sweep.slurm.nodes=2",), "makes 2 tasks for devices=1; give as many devices as tasks"),
        (("sweep.slurm.timeout_min=0",), "sweep.slurm.timeout_min=0: must be at least 1"),
        (("sweep.slurm.partion=low",), "did you mean 'slurm.partition'"),
        (("sweep.slurm=low",), "is a group of settings; give one of them, such as sweep.slurm.timeout_min="),
        (("sweep.where=cloud",), "must be one of local, slurm"),
    ],
)
def test_settings_that_cannot_be_are_refused(cli: Cli, typed: Sequence[str], message: str) -> None:
    assert message in cli.refused(*ON_IT, *typed, "seed=1,2", *SHORT, code=2)
    assert not cli.store.exists()


def test_what_sbatch_refuses_is_told_in_a_line(cli: Cli, slurm: SlurmCluster) -> None:
    message = cli.refused(*ON_IT, "sweep.slurm.partition=none", "seed=1,2", *SHORT, code=3, **slurm.environment)
    assert message.startswith("sweep.where=slurm: sbatch refuses the jobs (sbatch: error: ")
    assert not cli.store.exists()


def test_without_slurm_it_says_what_to_do(cli: Cli) -> None:
    message = cli.refused(*ON_IT, "seed=1,2", *SHORT, code=3, PATH="/nowhere")
    assert message.startswith("sweep.where=slurm: there is no SLURM here (no srun on the PATH)")
    assert not cli.store.exists()
