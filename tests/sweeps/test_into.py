"""One experiment as part of a sweep: run once however often it is asked for; and the commands that ask for it."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from conftest import QUIET, Cli, FinishedRun
from thrifty.errors import BadData
from thrifty.store import LOCK, read_record
from thrifty.sweeps.into import Standing, agreed, standing

SHORT = ("task=tabular", "budget.steps=3", *QUIET)


def altered(run: Path, **changed: object) -> Path:
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(record | changed))
    return run


@pytest.fixture
def sweep(tabular_run: FinishedRun, tmp_path: Path) -> Path:
    """A directory with one finished run."""
    tabular_run.copied_to(tmp_path)
    return tmp_path / "runs"


def another(run: Path, name: str) -> Path:
    """A later run of the same configuration."""
    return Path(shutil.copytree(run, run.parent / f"{name}-{run.name.partition('-')[2]}"))


def test_what_a_directory_holds_of_an_experiment(sweep: Path) -> None:
    (run,) = sweep.iterdir()
    wanted = read_record(run)["config_hash"]
    assert standing(sweep, wanted, 0) == Standing(finished=run)
    assert standing(sweep, "0" * 64, 0) == Standing()
    assert standing(sweep / "not-there", wanted, 0) == Standing()
    altered(run, status="preempted", reason="terminated")
    assert standing(sweep, wanted, 0) == Standing(cut_off=run)
    later = altered(another(run, "29990101T000000000Z"), status="oom")
    assert standing(sweep, wanted, 0) == Standing(cut_off=later), "the latest goes on"
    altered(run, status="diverged")
    assert standing(sweep, wanted, 0) == Standing(finished=run), "what is finished counts more than what is later"


def test_a_run_that_somebody_holds_is_waited_for_and_left_alone(sweep: Path) -> None:
    (run,) = sweep.iterdir()
    record = read_record(run)
    altered(run, status="running", attempt={"token": "its", "host": platform.node(), "pid": 1})
    with FileLock(run / LOCK):
        assert standing(sweep, record["config_hash"], 0) == Standing(busy=run)

        def ends() -> None:
            time.sleep(0.5)
            altered(run, status="ok")

        threading.Thread(target=ends).start()
        assert standing(sweep, record["config_hash"], 20) == Standing(finished=run), "its process was just ending"
    altered(run, status="running")
    assert standing(sweep, record["config_hash"], 0) == Standing(cut_off=run), "nobody holds it: its process is gone"
    altered(run, attempt={"token": "its", "host": "elsewhere", "pid": 1})
    assert standing(sweep, record["config_hash"], 0) == Standing(busy=run), "of another machine nobody can tell"


def test_the_rank_that_leads_decides_for_all(tmp_path: Path) -> None:
    def environment(rank: int) -> dict[str, str]:
        return {"TORCHELASTIC_RUN_ID": "one", "WORLD_SIZE": "2", "RANK": str(rank)}

    def never() -> Path:
        raise AssertionError("only the one that leads looks")

    found: list[Path | None] = []
    follower = threading.Thread(target=lambda: found.append(agreed(tmp_path, never, environment(1))))
    follower.start()
    time.sleep(0.3)
    assert found == [], "it waits"
    assert agreed(tmp_path, lambda: tmp_path / "run", environment(0)) == tmp_path / "run"
    follower.join(20)
    assert found == [tmp_path / "run"]
    assert list(tmp_path.iterdir()) == [], "nothing is left of it"
    assert agreed(tmp_path, lambda: None, environment(0)) is None
    assert agreed(tmp_path, never, environment(1)) is None
    assert agreed(tmp_path, lambda: tmp_path, {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": "0"}) == tmp_path, "alone"


def test_who_follows_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrifty.sweeps.into._LEADER_SECONDS", 0.0)
    with pytest.raises(BadData, match="the process that leads has not said with what to begin"):
        agreed(tmp_path, lambda: None, {"TORCHELASTIC_RUN_ID": "one", "WORLD_SIZE": "2", "RANK": "1"})


@pytest.mark.slow
def test_it_runs_once_and_goes_on_where_it_was_cut_off(cli: Cli) -> None:
    typed = ("run", *SHORT, "seed=4", "sweep.into=results/sweeps/mine")
    cli(*typed)
    (run,) = cli.runs()
    assert run.parent == cli.store / "sweeps" / "mine"
    before = (run / "result.json").read_bytes()
    again = cli(*typed)
    assert again.stdout == f"finished before: {run.relative_to(cli.cwd)}\n"
    assert (run / "result.json").read_bytes() == before
    record = json.loads(before)
    assert "sweep.into" not in record["command"]
    altered(run, status="preempted", reason="terminated")
    cli(*typed)
    assert [one.name for one in (cli.store / "sweeps" / "mine").iterdir()] == [run.name]
    assert (cli.record()["status"], cli.record()["attempt"]["token"]) != ("ok", record["attempt"]["token"])
    altered(run, status="running", attempt={"token": "its", "host": platform.node(), "pid": 7})
    with FileLock(run / LOCK):
        assert "is just being run, by process 7" in cli.refused(*typed, code=2)


def test_what_does_not_go_with_it_is_refused(cli: Cli) -> None:
    assert "is of one experiment, and -m of many" in cli.refused("run", "-m", *SHORT, "seed=1,2", "sweep.into=x", code=2)
    assert "must be a directory" in cli.refused("run", *SHORT, "sweep.into=", code=2)
    assert "leave resume out" in cli.refused("run", *SHORT, "sweep.into=x", "resume=y", code=2)
    assert "prints grids" in cli.refused("run", "-m", "sweeps=learning_rate", "sweep.print=sbatch", code=2)
    assert list(cli.cwd.iterdir()) == []


def test_a_grid_is_printed_for_sbatch(cli: Cli) -> None:
    asked = ("sweep.slurm.partition=low", "sweep.slurm.mem_gb=1.5", "sweep.slurm.setup=[module load cuda]")
    more = ("sweep.slurm.additional_parameters={mail-type: END, requeue: true}", "sweep.slurm.srun_args=[--cpu-bind=none]")
    done = cli("run", "-m", *SHORT, "name='a,b'", "seed=1,2", "sweep.print=sbatch", *asked, *more)
    first, second = done.stdout.splitlines()
    words = shlex.split(first)
    assert words[0] == "sbatch"
    flags = ("--partition=low", "--mem=1536M", "--time=60", "--nodes=1", "--job-name=thrifty", "--signal=USR2@120")
    assert {*flags, "--mail-type=END", "--requeue", "--ntasks-per-node=1"} <= set(words)
    assert words[-2] == "--wrap"
    setup, command = words[-1].split("; ")
    assert setup == "module load cuda"
    *start, into = shlex.split(command)
    assert start == ["srun", "--cpu-bind=none", "thrifty", "run", *SHORT, "name='a,b'", "seed=1"]
    assert into.startswith("sweep.into=results/sweeps/")
    assert shlex.split(shlex.split(second)[-1].split("; ")[1])[-2:] == ["seed=2", into]
    assert list(cli.cwd.iterdir()) == [], "nothing was run"


@pytest.mark.slow
def test_a_grid_is_printed_for_torchrun_and_its_commands_run(cli: Cli) -> None:
    done = cli("run", "-m", *SHORT, "seed=1,2", "sweep.print=torchrun", "devices=2", "device=cpu", "batch_size=32")
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert lines[0][:6] == ["torchrun", "--standalone", "--nproc-per-node=2", "-m", "thrifty", "run"]
    assert cli.runs() == []
    here = str(Path(sys.executable).parent / "torchrun")
    for _ in range(2):  # the second time it is finished
        ended = subprocess.run(
            [here, *lines[0][1:]], cwd=cli.cwd, env=cli.environment(), text=True, capture_output=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("finished before: results/sweeps/") == 2
    assert cli.record()["status"] == "ok"
    (sweep,) = (cli.store / "sweeps").iterdir()
    assert [one.name for one in sweep.iterdir()] == [cli.runs()[0].name], "nothing is left of how they agreed"
