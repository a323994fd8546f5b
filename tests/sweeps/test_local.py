"""Slots of this machine: who gets which cores, and what becomes of a job whose process dies."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from conftest import QUIET, Cli
from thrifty.errors import BadConfiguration
from thrifty.store import read_record
from thrifty.sweeps import local
from thrifty.sweeps.local import shares
from thrifty.sweeps.slot import Share


@pytest.fixture
def six_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "cores", lambda: [0, 1, 2, 3, 4, 6])
    monkeypatch.setattr(local, "visible_gpus", lambda: ())


@pytest.mark.usefixtures("six_cores")
@pytest.mark.parametrize(
    ("parallel", "cores"),
    [(2, [(0, 1, 2), (3, 4, 6)]), (3, [(0, 1), (2, 3), (4, 6)]), (4, [(0,), (1,), (2,), (3,)]), (6, [(0,), (1,), (2,), (3,), (4,), (6,)])],
)  # fmt: skip
def test_cores_are_divided_evenly(parallel: int, cores: list[tuple[int, ...]], tmp_path: Path) -> None:
    assert [one.cores for one in shares(parallel, tmp_path, "auto")] == cores
    assert all(one.gpus is None and one.turns == tmp_path for one in shares(parallel, tmp_path, "auto"))


@pytest.mark.usefixtures("six_cores")
def test_one_has_the_whole_machine(tmp_path: Path) -> None:
    assert shares(1, tmp_path, "auto") == [Share()]


@pytest.mark.usefixtures("six_cores")
def test_gpus_are_leased_unless_processors_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "visible_gpus", lambda: ("0", "GPU-5"))
    assert [one.gpus for one in shares(2, tmp_path, "auto")] == [("0",), ("GPU-5",)]
    assert [one.gpus for one in shares(3, tmp_path, "cpu")] == [None] * 3
    with pytest.raises(BadConfiguration, match=r"sweep\.parallel=3: each experiment gets a GPU of its own, and there are 2"):
        shares(3, tmp_path, "cuda")


@pytest.mark.usefixtures("six_cores")
def test_more_than_there_are_cores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"sweep\.parallel=7: each experiment gets cores of its own, and there are 6"):
        shares(7, tmp_path, "auto")


def test_gpus_are_those_that_cuda_would_see(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from thrifty.execution import gpus

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-8")
    assert gpus.visible_gpus() == ("2", "GPU-8")
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert gpus.visible_gpus() == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert gpus.visible_gpus() == ("0", "1")
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "none")
    assert gpus.visible_gpus() == ()


needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="two slots need two cores"
)


@needs_two_cores
def test_two_at_a_time_each_on_cores_of_its_own(cli: Cli) -> None:
    done = cli("run", "-m", "task=tabular", "seed=range(1,5)", "budget.steps=3", "sweep.parallel=2", *QUIET)
    records = [json.loads((run / "result.json").read_text()) for run in cli.runs()]
    assert sorted(one["seed"] for one in records) == [1, 2, 3, 4]
    share = len(os.sched_getaffinity(0)) // 2
    assert {one["environment"]["cores"] for one in records} == {share}
    rows = [line.split()[1] for line in done.stdout.splitlines()[1:5]]
    assert rows == ["1", "2", "3", "4"], "the table is in the order of the grid, whichever ended first"
    assert [one.name for one in cli.store.iterdir()] == ["sweeps"], "nothing is left of what they shared"


def children(pid: int) -> dict[int, str]:
    """Processes below one, and their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (entry / "stat").read_text(), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == pid:
            found[int(entry.name)] = line
    return found


def training(cli: Cli) -> set[Path]:
    """The runs that have saved something that they can go on from."""
    return {path.parents[1] for path in cli.store.glob("sweeps/*/*/checkpoints/*")}


@pytest.mark.slow
@needs_two_cores
def test_a_slot_that_is_killed_costs_its_experiment_and_no_other(cli: Cli) -> None:
    typed = (
        "run",
        "-m",
        "task=tabular",
        "seed=1,2,3",
        "budget.steps=3000",
        "sweep.parallel=2",
        "train.checkpoints=0.05",
        *QUIET,
    )
    process = cli.popen(*typed)
    try:
        end = time.monotonic() + 60
        while len(training(cli)) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(training(cli)) == 2
        slots = [pid for pid, line in children(process.pid).items() if "spawn_main" in line]
        assert len(slots) == 2
        os.kill(slots[0], signal.SIGKILL)
        _, told = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 5, told
    assert "the process of this experiment died of SIGKILL" in told
    statuses = sorted(read_record(run)["status"] for run in cli.runs())
    assert statuses == ["ok", "ok", "preempted"], "its worker had time to save"
    (sweep,) = (cli.store / "sweeps").iterdir()
    cli(*typed, f"sweep.resume={sweep.name}")
    assert [read_record(run)["status"] for run in cli.runs()] == ["ok"] * 3


@needs_two_cores
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_grid_that_is_ended_goes_on_with_both_that_were_running(cli: Cli, how: signal.Signals) -> None:
    typed = (
        "run",
        "-m",
        "task=tabular",
        "seed=1,2,3",
        "budget.steps=4000",
        "sweep.parallel=2",
        "train.checkpoints=0.05",
        *QUIET,
    )
    process = cli.popen(*typed)
    try:
        end = time.monotonic() + 60
        while len(training(cli)) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(training(cli)) == 2
        process.send_signal(how)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    end = time.monotonic() + 30
    while any(read_record(run)["status"] == "running" for run in cli.runs()) and time.monotonic() < end:
        time.sleep(0.1)  # workers end by themselves once their command line is gone
    begun = {run.name for run in cli.runs()}
    (sweep,) = (cli.store / "sweeps").iterdir()
    cli(*typed, f"sweep.resume={sweep.name}")
    assert begun <= {run.name for run in cli.runs()}
    records = [read_record(run) for run in cli.runs()]
    assert [one["status"] for one in records] == ["ok"] * 3
    assert any("went on after step" in sentence for one in records for sentence in one["data"]["about"])


@pytest.mark.slow
@needs_two_cores
def test_searches_for_the_best_go_on_side_by_side(cli: Cli) -> None:
    """What they try is made by workers that wait for whoever measures, so nobody may measure meanwhile."""
    typed = ("task=tabular", "architecture.widths=[64,32]", "budget.steps=3", "method=optimize", "max_quality_loss=50", *QUIET)
    cli("run", "-m", *typed, "objective=file", "method.quantizers=[int8_weight]", "seed=0,1", "sweep.parallel=2")
    records = [read_record(one) for one in cli.runs() if "sweeps" in one.parts]
    assert [one["status"] for one in records] == ["ok", "ok"]
    assert all(any(row["status"] == "winner" for row in one["optimize"]) for one in records)


def test_more_slots_than_cores_are_refused_before_anything_starts(cli: Cli) -> None:
    assert "each experiment gets cores of its own" in cli.refused(
        "run", "-m", "task=tabular", "seed=1,2", "sweep.parallel=4096", code=2
    )
    assert not cli.store.exists()
