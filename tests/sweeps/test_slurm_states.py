"""What SLURM says of a job, made a record: with commands that answer as SLURM would, where a real one here could not be brought to it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from conftest import QUIET, Cli
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import Unsupported
from thrifty.sweeps.slurm import SlurmJobs
from thrifty.sweeps.slurm_states import JobState, states_of

GRID = ("run", "-m", "sweep.where=slurm", "sweep.slurm.poll_s=0.01", "task=tabular", "seed=1,2", "budget.steps=3", *QUIET)


def commands(folder: Path, **scripts: str) -> str:
    """A PATH on which these commands are, before all others."""
    folder.mkdir()
    for name, script in {"srun": "exit 1", "scancel": "exit 0", "sacct": "exit 1", **scripts}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_the_queue_is_asked_first_and_the_accounting_for_what_it_has_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = commands(
        tmp_path / "bin",
        squeue="printf '7_0    RUNNING   2  \\n7_1   PENDING  0\\n9  FAILED 0\\n'",
        sacct="echo \"$@\" > $(dirname $0)/asked; printf '3|CANCELLED by 1000\\n3.batch|FAILED\\n'",
    )
    monkeypatch.setenv("PATH", path)
    found = states_of(["7_0", "7_1", "3", "4"])
    assert found == {"7_0": JobState("RUNNING", 2), "7_1": JobState("PENDING", 0), "3": JobState("CANCELLED")}
    assert (tmp_path / "bin" / "asked").read_text().split()[-1] == "3,4"
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert states_of(["7_0"]) is None, "a controller that does not answer says nothing about the jobs"


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        ("OUT_OF_MEMORY", "oom", "SLURM's job 7_{n} took more memory than it asked for; give more sweep.slurm.mem_gb"),
        ("NODE_FAIL", "killed", "the node of SLURM's job 7_{n} failed (NODE_FAIL)"),
        ("TIMEOUT", "preempted", "SLURM's time limit of 60 min was reached"),
        ("COMPLETED", "killed", "SLURM's job 7_{n} died (COMPLETED)"),
        ("", "killed", "SLURM's job 7_{n} is gone, and SLURM does not know how it ended"),
    ],
)
def test_a_job_that_left_no_word_has_a_record_with_the_reason(cli: Cli, state: str, status: str, reason: str) -> None:
    queue = f"printf '7_0 {state} 0\\n7_1 {state} 0\\n'"
    path = commands(cli.cwd / "bin", sbatch="echo Submitted batch job 7", squeue=queue)
    done = cli(*GRID, code=5, PATH=path)
    records = [json.loads((run / "result.json").read_text()) for run in cli.runs()]
    by_seed = {one["seed"]: one for one in records}
    assert {one["status"] for one in records} == {status}
    for number, seed in enumerate((1, 2)):
        assert by_seed[seed]["reason"].startswith(reason.format(n=number))
    assert "2 records in" in done.stdout
    assert [one.name for one in cli.store.iterdir()] == ["sweeps"]


def test_what_is_preempted_and_not_queued_again_is_submitted_again_but_not_for_ever(cli: Cli) -> None:
    sbatch = "echo x >> $(dirname $0)/submitted; echo Submitted batch job $(wc -l < $(dirname $0)/submitted)"
    path = commands(cli.cwd / "bin", sbatch=sbatch, squeue="for i in 1 2 3 4; do echo $i PREEMPTED 0; done")
    cli(*GRID, "seed=1", code=143, PATH=path)
    assert (cli.cwd / "bin" / "submitted").read_text().count("x") == 3
    assert [json.loads((run / "result.json").read_text())["status"] for run in cli.runs()] == ["preempted"]


def test_what_its_turn_alone_does_not_begin_is_told_once(cli: Cli) -> None:
    """SLURM keeps it for ever, and without a word, where no node of a partition has what it asks for."""
    waits = "printf '7_0 PENDING 0 PartitionConfig\\n7_1 PENDING 0 (Resources)\\n'"
    ended = "printf '7_0 NODE_FAIL 0 None\\n7_1 NODE_FAIL 0 None\\n'"
    squeue = f"echo x >> $(dirname $0)/asked; if [ $(wc -l < $(dirname $0)/asked) -lt 4 ]; then {waits}; else {ended}; fi"
    path = commands(cli.cwd / "bin", sbatch="echo Submitted batch job 7", squeue=squeue)
    done = cli(*GRID, code=5, PATH=path)
    told = [line for line in done.stderr.splitlines() if "SLURM does not begin" in line]
    assert told == [
        "SLURM does not begin job 7_0: PartitionConfig; if it asks for what no node of the partition has, change sweep.slurm "
        "(`scontrol show job 7_0`, `sinfo`)"
    ]


def test_jobs_of_an_attempt_whose_command_line_is_gone_are_ended_first(cli: Cli) -> None:
    """Killed hard, it has left them in the queue: two jobs must not run one experiment."""
    path = commands(
        cli.cwd / "bin",
        sbatch="echo submitted >> $(dirname $0)/log; echo Submitted batch job 7",
        scancel="echo $@ >> $(dirname $0)/log",
        squeue="printf '7_0 NODE_FAIL 0\\n7_1 NODE_FAIL 0\\n'",
    )
    sweep = cli.store / "sweeps" / "20260101T000000000Z-grid"
    sweep.mkdir(parents=True)
    left = cli.store / ".shared" / sweep.name / "submitit"
    left.mkdir(parents=True)
    (left / "5_0_submitted.pkl").touch()
    cli(*GRID, f"sweep.resume={sweep}", code=5, PATH=path)
    assert (cli.cwd / "bin" / "log").read_text().splitlines() == ["--quiet 5_0", "submitted"]


def test_without_submitit_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(Unsupported, match=r"^sweep\.where=slurm: needs submitit, .* pip install 'thrifty\[slurm\]'") as caught:
        SlurmJobs(sweep_of(()).settings.slurm, 1, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_search_s_password_is_in_no_file_of_a_job(cli: Cli) -> None:
    """It goes by the environment, where a stopper has to ask the storage."""
    (cli.cwd / "mine.yaml").write_text(
        "sweep: {objectives: ['validation/loss: minimize'], n_trials: 1, stopper: median, where: slurm, slurm: {poll_s: 0.01}}\n"
        "overrides: [task=tabular, 'seed=1,2']\n"
    )
    # SQLite has no passwords: a number in its address stands for one. What sbatch sees is kept, as is every file that there is then.
    keep = 'echo "$THRIFTY_STORAGE" > kept; cp -r results/.shared submitted; echo Submitted batch job 7'
    path = commands(cli.cwd / "bin", sbatch=keep, squeue="echo 7 NODE_FAIL 0")
    storage = "sqlite:///study.db?timeout=31.4159"
    cli("run", "-m", "sweeps=mine.yaml", f"sweep.storage='{storage}'", *QUIET, code=1, PATH=path)
    assert (cli.cwd / "kept").read_text().strip() == storage
    pickles = [one for one in (cli.cwd / "submitted").rglob("*") if one.is_file()]
    assert pickles
    assert not any(b"31.4159" in one.read_bytes() for one in pickles)
