"""Runs that were cut off go on as if nothing had happened."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import QUIET, Cli, FinishedRun
from thrifty.config.compose import compose
from thrifty.errors import BadConfiguration, BadData
from thrifty.execution.beginning import Beginning
from thrifty.execution.resumption import resumed_run
from thrifty.formats.tensor_tree import load_tree, save_tree
from thrifty.methods.checkpoints import Checkpoints

STEPS = 1500


def small_text(cli: Cli, *overrides: str) -> tuple[str, ...]:
    """Some seconds of training whose every step depends on the random numbers before it."""
    (cli.cwd / "corpus.txt").write_text("".join(f"line {number}: the quick brown fox\n" for number in range(800)))
    shape = ("architecture.width=64", "architecture.depth=1", "architecture.context=16")
    levers = ("regularizer.dropout=0.1", "train.average=0.99", "train.clip=1.0", "train.checkpoints=0.1", "threads=1")
    return ("run", "task.path=corpus.txt", *shape, *levers, f"budget.steps={STEPS}", *QUIET, *overrides)


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*.json"))


def cut_off(cli: Cli, typed: tuple[str, ...], end: Callable[[Any, int], None], wanted: int = 2) -> tuple[Path, int]:
    """A run ended in the middle of its training, once there are so many checkpoints; its directory and exit code."""
    process, limit = cli.popen(*typed), time.monotonic() + 60
    while not ((runs := cli.runs()) and len(checkpoints(runs[-1])) >= wanted):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.005)
    record = json.loads((runs[-1] / "result.json").read_text())
    end(process, record["attempt"]["pid"])
    process.communicate()
    return runs[-1], process.returncode


def kill_all(process: Any, worker: int) -> None:
    process.kill()
    os.kill(worker, signal.SIGKILL)


def record_of(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "result.json").read_text())
    return record


def history_of(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training, left alone."""
    root = tmp_path_factory.mktemp("undisturbed")
    for name in ("cwd", "home"):
        (root / name).mkdir()
    cli = Cli(root / "cwd", root / "home")
    cli(*small_text(cli))
    (run,) = cli.runs()
    return run


def held_to(run: Path, undisturbed: Path) -> None:
    assert (run / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    assert history_of(run) == history_of(undisturbed)
    ours, theirs = record_of(run), record_of(undisturbed)
    assert ours["status"] == "ok"
    assert ours["metrics"]["train/steps"]["value"] == STEPS
    assert ours["metrics"]["quality/loss"] == theirs["metrics"]["quality/loss"]
    assert not (run / "checkpoints").exists()


def test_a_killed_run_goes_on_to_the_same_bits(cli: Cli, undisturbed: Path) -> None:
    run, _ = cut_off(cli, small_text(cli), kill_all)
    left = checkpoints(run)
    assert 1 <= len(left) <= 3, "two are kept; a third may just have been written"
    cli("run", f"resume={run.name}")
    assert cli.runs() == [run], "it goes on where it was"
    held_to(run, undisturbed)
    assert any("was cut off and went on after step" in one for one in record_of(run)["data"]["about"])


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(cli: Cli, undisturbed: Path) -> None:
    run, _ = cut_off(cli, small_text(cli), kill_all)
    newest = checkpoints(run)[-1]
    data = newest.with_suffix(".safetensors")
    data.write_bytes(data.read_bytes()[:-1])
    cli("run", f"resume={run.name}")
    held_to(run, undisturbed)
    assert any(one.startswith(f"checkpoint {newest.stem} was passed over") for one in record_of(run)["data"]["about"])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="this system has no SIGUSR2")
@pytest.mark.parametrize("name", ["SIGUSR2", "SIGTERM"])
def test_a_run_asked_to_stop_keeps_where_it_was(cli: Cli, undisturbed: Path, name: str) -> None:
    def ask(process: Any, worker: int) -> None:
        process.send_signal(getattr(signal, name))

    run, code = cut_off(cli, small_text(cli, "train.checkpoints=0.3"), ask, wanted=1)
    assert code == 143
    stopped = record_of(run)
    assert stopped["status"] == "preempted"
    step = stopped["metrics"]["train/steps"]["value"]
    assert 0 < step < STEPS
    assert load_tree(checkpoints(run)[-1])["step"] == step, "of the step it stopped at, not of one before"
    done = cli("run", f"resume={run.name}")
    assert f"after step {step} of" in done.stderr + done.stdout or any(
        f"went on after step {step}" in one for one in record_of(run)["data"]["about"]
    )
    assert (run / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_begins_anew(cli: Cli, undisturbed: Path) -> None:
    run, _ = cut_off(cli, small_text(cli), kill_all)
    shutil.rmtree(run / "checkpoints")
    cli("run", f"resume={run.name}")
    held_to(run, undisturbed)
    assert any("had left no checkpoint: it began anew" in one for one in record_of(run)["data"]["about"])


def test_a_worker_that_dies_before_it_goes_on_leaves_its_word_where_the_run_is(tabular_run: FinishedRun, store: Path) -> None:
    from conftest import job_of
    from thrifty.execution.launch import _bury

    run = tabular_run.copied_to(store)
    job = replace(job_of(["task=tabular", f"store={store}"], str(store / "runs")), beginning=Beginning(resumed=run))
    finished = _bury("oom", "too little memory", 5, None, job)
    assert finished.path == str(run)
    assert list((store / "runs").iterdir()) == [run], "no second directory for the same run"
    assert record_of(run)["status"] == "oom"


# -- refused ------------------------------------------------------------------------------------------------------------


def refusal(run: FinishedRun, store: Path, status: str, *others: str) -> str:
    copy = run.copied_to(store)
    record = record_of(copy)
    record["status"] = status
    (copy / "result.json").write_text(json.dumps(record))
    typed = [f"resume={copy.name}", f"store={store}", *others]
    with pytest.raises(BadConfiguration) as caught:
        resumed_run(compose(typed), typed)
    return str(caught.value)


def test_a_finished_run_is_not_gone_on_with(tabular_run: FinishedRun, store: Path) -> None:
    said = refusal(tabular_run, store, "ok")
    assert "is finished; checkpoint=" in said


def test_a_diverged_run_is_not_gone_on_with(tabular_run: FinishedRun, store: Path) -> None:
    assert "its loss ran away, and would again" in refusal(tabular_run, store, "diverged")


def test_a_run_goes_on_as_it_began(tabular_run: FinishedRun, store: Path) -> None:
    said = refusal(tabular_run, store, "killed", "optimizer.lr=0.5", "task=tabular")
    assert "optimizer.lr=0.5 task=tabular: a run goes on as it began, and optimizer.lr would change" in said


def test_what_it_began_with_may_be_repeated(tabular_run: FinishedRun, store: Path) -> None:
    copy = tabular_run.copied_to(store)
    record = record_of(copy)
    record["status"] = "killed"
    (copy / "result.json").write_text(json.dumps(record))
    typed = [f"resume={copy.name}", f"store={store}", "task=tabular"]
    path, config, overrides = resumed_run(compose(typed), typed)
    assert path == copy
    assert overrides == record["overrides"]
    assert config.resume is None


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, "one").save(3, {})
    found, told = Checkpoints(tmp_path, "one").newest()
    assert found == {"step": 3, "of": "one"}
    assert told == []
    with pytest.raises(BadData, match="is of another configuration, or the data is no longer the same"):
        Checkpoints(tmp_path, "other").newest()


# -- files --------------------------------------------------------------------------------------------------------------


def test_few_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "one", keep=2)
    for step in (1, 2, 3):
        kept.save(step, {})
    assert [one.stem for one in checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    assert kept.written_bytes > 0
    kept.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    import torch

    tensor = torch.arange(6, dtype=torch.float64).view(2, 3)
    tree = {"a": [tensor, 1, 2.5, None, True], 7: ("x", {"bits": torch.tensor([1, 2], dtype=torch.uint8)}), "n": float("inf")}
    assert save_tree(tmp_path / "tree", tree) > 0
    found = load_tree(tmp_path / "tree")
    assert list(found) == ["a", 7, "n"]
    assert torch.equal(found["a"][0], tensor)
    assert found["a"][1:] == [1, 2.5, None, True]
    assert isinstance(found[7], tuple)
    assert found[7][1]["bits"].dtype == torch.uint8
    assert found["n"] == float("inf")
    with pytest.raises(TypeError, match="set has no place in a file"):
        save_tree(tmp_path / "other", {"a": {1}})


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_tree_that_was_altered_is_refused(tmp_path: Path, suffix: str) -> None:
    import torch

    save_tree(tmp_path / "tree", {"a": torch.ones(3)})
    path = (tmp_path / "tree").with_suffix(suffix)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BadData):
        load_tree(tmp_path / "tree")
