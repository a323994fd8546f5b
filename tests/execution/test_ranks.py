"""Which ranks a command line starts, and what is left of a run whose ranks are disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import QUIET, Cli
from thrifty.errors import BadConfiguration
from thrifty.execution.ranks import Rank, ranks_to_start

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
TWO_CORES = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="each rank needs a core, and there is one"
)
SMALL = ("task=tabular", "regularizer.l2=0", "devices=2", "batch_size=32", *QUIET)


def test_one_device_is_one_process_that_meets_nobody() -> None:
    assert ranks_to_start(1, {}) == [Rank()]


def test_several_devices_are_started_here_and_meet_in_a_file() -> None:
    first, second = ranks_to_start(2, {})
    assert (first.number, second.number) == (first.local, second.local) == (0, 1)
    assert first.of == second.of == first.on_machine == 2
    assert first.meeting == second.meeting
    assert first.meeting.startswith("file:///")
    assert first.meeting != ranks_to_start(2, {})[0].meeting
    assert first.leads
    assert not second.leads


def test_what_a_launcher_has_started_is_a_rank_of_its_own() -> None:
    assert ranks_to_start(4, TORCHRUN) == [Rank(3, 4, 1, 2)]
    assert ranks_to_start(4, SRUN) == [Rank(2, 4, 0, 2)]


def test_a_task_of_srun_that_asks_for_one_device_is_an_experiment_of_its_own() -> None:
    assert ranks_to_start(1, SRUN) == [Rank()]
    assert len(ranks_to_start(2, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"})) == 2


@pytest.mark.parametrize(("devices", "environment"), [(2, TORCHRUN), (1, TORCHRUN), (8, SRUN)])
def test_a_launcher_that_started_another_number_is_refused(devices: int, environment: dict[str, str]) -> None:
    with pytest.raises(BadConfiguration, match=rf"devices={devices}: \w+ has started 4 processes; give devices=4"):
        ranks_to_start(devices, environment)


def test_a_grid_is_not_for_a_launcher(cli: Cli) -> None:
    told = cli.refused("run", "-m", "task=tabular", "seed=1,2", *QUIET, code=2, **TORCHRUN)
    assert told.startswith("-m: torchrun has started this command several times; start a sweep once")


def history(run: Path) -> list[dict[str, str]]:
    import csv

    with (run / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@TWO_CORES
def test_two_devices_train_as_one_does(cli: Cli) -> None:
    cli("run", *SMALL, "budget.steps=30")
    cli("run", *SMALL, "budget.steps=30", "devices=1")
    first, second = cli.runs()
    records: list[dict[str, Any]] = [json.loads((run / "result.json").read_text()) for run in (first, second)]
    assert [one["status"] for one in records] == ["ok", "ok"]
    assert [one["config"]["devices"] for one in records] == [2, 1]
    for ours, theirs in zip(history(first), history(second), strict=True):
        assert ours["step"] == theirs["step"]
        assert float(ours["train/loss"]) == pytest.approx(float(theirs["train/loss"]), rel=1e-4)
    together = records[0]["metrics"]
    assert together["train/peak_host_mib"]["value"] > 50
    assert together["train/samples_per_s"]["value"] == pytest.approx(32e3 / together["train/step_ms"]["value"])


@TWO_CORES
@pytest.mark.slow
@pytest.mark.parametrize("shard", ["true", "false"])
def test_a_run_of_two_devices_that_was_stopped_goes_on_to_the_same_bits(cli: Cli, shard: str) -> None:
    long = ("budget.steps=600", "train.steps_per_call=10", "regularizer.dropout=0.1", f"train.shard={shard}")
    cli("run", *SMALL, *long)
    process = cli.popen("run", *SMALL, *long, "name=stopped")
    run = _training(cli, process, 1)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it had finished before it could be stopped")
    assert process.returncode == 143, (out, err)
    assert json.loads((run / "result.json").read_text())["status"] == "preempted"
    cli("run", f"resume={run.name}")
    assert (run / "model.safetensors").read_bytes() == (cli.runs()[0] / "model.safetensors").read_bytes()


@TWO_CORES
def test_a_rank_that_is_killed_ends_the_run_with_a_record(cli: Cli) -> None:
    process = cli.popen("run", *SMALL, "budget.steps=100000000", "budget.seconds=100")
    run = _training(cli, process, 0)
    leader = json.loads((run / "result.json").read_text())["attempt"]["pid"]
    (follower,) = (one for one in _workers(process.pid) if one != leader)
    os.kill(follower, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    record = cli.record()
    assert record["status"] == "killed"
    assert record["reason"] == "rank 1 of 2 died of SIGKILL"
    assert "rank 1 of 2 died of SIGKILL" in err
    assert not _workers(process.pid)


@TWO_CORES
def test_devices_that_keep_a_part_each_train_as_one_does(cli: Cli) -> None:
    small = ("task=text", "batch_size=4", "architecture.context=16", "architecture.depth=2", "budget.steps=8", *QUIET)
    cli("run", *small, "devices=2", "train.shard=true", "train.patience=3", "train.clip=1")
    cli("run", *small, "train.patience=3", "train.clip=1")
    first, second = cli.runs()
    for ours, theirs in zip(history(first), history(second), strict=True):
        assert float(ours["train/loss"]) == pytest.approx(float(theirs["train/loss"]), rel=1e-4)
        assert float(ours["validation/loss"] or 0) == pytest.approx(float(theirs["validation/loss"] or 0), rel=1e-4)
    records = [json.loads((run / "result.json").read_text()) for run in (first, second)]
    sizes = [one["metrics"]["size/parameters"]["value"] for one in records]
    assert sizes[0] == sizes[1], "what is kept is the whole model"


@pytest.mark.slow
@TWO_CORES
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("devices=1",), "train.shard=true: shares a training's memory out among devices, and there is one; give devices=N"),
        (("optimizer=muon",), "train.shard=true: optimizer=muon is not for weights of which a device has a part; use"),
        (("regularizer.l2=0.1",), "train.shard=true: regularizer.l2=0.1 is not for weights of"),
        (("train.average=0.9",), "train.shard=true: train.average is not for weights of"),
    ],
)
def test_what_needs_whole_weights_is_refused_where_devices_keep_parts(
    cli: Cli, overrides: tuple[str, ...], message: str
) -> None:
    told = cli.refused("run", *SMALL, "train.shard=true", *overrides, code=2)
    assert told.startswith(message)
    assert not cli.runs()


def test_more_devices_than_there_are_are_refused(cli: Cli) -> None:
    told = cli.refused("run", "task=tabular", "devices=512", "batch_size=512", "device=cpu", *QUIET, code=3)
    assert told.startswith("devices=512: this machine has ")
    assert "give devices=" in told
    assert not cli.runs()


@pytest.mark.slow
@TWO_CORES
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("batch_size=33",), "devices=2: a batch of 33 does not divide over them; give batch_size=32 or 34"),
        (("batch_size=1",), "devices=2: a batch of 1 does not divide over them; give batch_size=2"),
        (("batch_size=8", "train.accumulate=8"), "train.accumulate=8: a device's share, 4 of a batch of 8, cannot be computed"),
        (("batch_size=auto",), "batch_size=auto devices=2: do not go together"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(cli: Cli, overrides: tuple[str, ...], message: str) -> None:
    assert cli.refused("run", "task=tabular", "devices=2", *overrides, *QUIET, code=2).startswith(message)
    assert not cli.runs()


@TWO_CORES
def test_torchrun_starts_the_ranks_and_one_of_them_tells(cli: Cli) -> None:
    script = Path(__file__).parents[2] / "run.py"
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(script), *SMALL, "budget.steps=20",
        ],
        cwd=cli.cwd, env=cli.environment(OMP_NUM_THREADS="1"), text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert cli.record()["status"] == "ok"
    assert done.stdout.count("train/step_ms") == 1


def _training(cli: Cli, process: subprocess.Popen[str], number: int) -> Path:
    """The directory of a run once Lightning is at work in it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        runs = [one for one in cli.runs() if not one.name.startswith(".")]  # one that is being made
        log = runs[number] / "run.log" if len(runs) > number else None
        if log is not None and log.is_file() and "GPU available" in log.read_text():
            return runs[number]
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def _workers(command_line: int) -> list[int]:
    """Processes that the fork server of a command line has made."""
    children = Path(f"/proc/{command_line}/task/{command_line}/children")
    if not children.exists():
        return []
    servers = children.read_text().split()
    found = []
    for server in servers:
        inner = Path(f"/proc/{server}/task/{server}/children")
        found += [int(one) for one in inner.read_text().split()] if inner.exists() else []
    return found
