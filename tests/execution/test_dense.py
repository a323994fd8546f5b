"""The dense model of a compression: trained once, found again, waited for, and never mixed up."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import QUIET, Cli
from thrifty.execution.dense import dense_overrides

SMALL = ("task=tabular", "architecture.widths=[16,8]", "budget.steps=20", "threads=1")


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((one / "result.json").read_text()) for one in sorted(folder.glob("2*"))]


def test_the_dense_training_is_the_same_command_without_what_compressing_has() -> None:
    typed = ["method=prune", "pruner=random", "pruner.scope=layer", "sparsity=0.9", "method.pace=gradual", "name=x", "seed=3"]
    assert dense_overrides([*typed, "task=tabular", "profile=true"]) == ["seed=3", "task=tabular"]


def test_the_dense_model_is_trained_once(cli: Cli) -> None:
    first = cli("run", *SMALL, *QUIET, "method=prune", "sparsity=0.5")
    assert "first the dense model is trained" in first.stderr
    (dense,) = records(cli.store / "cache")
    assert (dense["status"], dense["config"]["method"]["name"], dense["config"]["pruner"]) == ("ok", "train", None)
    second = cli("run", *SMALL, *QUIET, "method=prune", "sparsity=0.9", "pruner=random")
    assert f"the dense model is that of {dense['id']}, trained before" in second.stderr
    assert len(records(cli.store / "cache")) == 1
    assert [one["parents"] for one in records(cli.store / "runs")] == [[dense["id"]]] * 2
    cli("run", *SMALL, *QUIET, "seed=1", "method=prune", "sparsity=0.9")
    assert len(records(cli.store / "cache")) == 2


@pytest.mark.slow
def test_a_run_that_was_there_is_not_trained_again(cli: Cli) -> None:
    cli("run", *SMALL, *QUIET)
    done = cli("run", *SMALL, *QUIET, "method=prune")
    dense, pruned = records(cli.store / "runs")
    assert "trained before" in done.stderr
    assert pruned["parents"] == [dense["id"]]
    named = cli("run", *SMALL, *QUIET, "method=prune", f"checkpoint={dense['id']}", "seed=7")
    assert "trained" not in named.stderr
    assert records(cli.store / "runs")[-1]["parents"] == [dense["id"]]


@pytest.mark.slow
def test_an_altered_entry_is_trained_again(cli: Cli) -> None:
    cli("run", *SMALL, *QUIET, "method=prune")
    (weights,) = (cli.store / "cache").glob("*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 255
    weights.write_bytes(bytes(content))
    done = cli("run", *SMALL, *QUIET, "method=prune", "sparsity=0.7")
    assert "altered" in done.stderr
    assert len(records(cli.store / "cache")) == 2


@pytest.mark.slow
def test_two_commands_at_once_train_one_dense_model(cli: Cli) -> None:
    typed = ("run", *SMALL, *QUIET, "budget.steps=300", "method=prune")
    processes = [cli.popen(*typed, f"sparsity={share}") for share in (0.5, 0.6)]
    told = [one.communicate(timeout=100)[1] for one in processes]
    assert [one.returncode for one in processes] == [0, 0], told
    assert len(records(cli.store / "cache")) == 1
    assert sum("waiting for another command" in one for one in told) <= 1
    assert len({tuple(one["parents"]) for one in records(cli.store / "runs")}) == 1


def test_a_dense_model_that_diverges_ends_the_command_as_it_ends_a_training(cli: Cli) -> None:
    done = cli("run", *SMALL, *QUIET, "optimizer.lr=1e30", "method=prune", code=6)
    assert "diverged" in done.stdout
    assert not (cli.store / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        ("pruner=magnitude", "sparsity=0.8", "method.pace=gradual", "method.sensitivity=[0.5]"),
        ("pruner=structured_l1", "sparsity=auto", "max_quality_loss=5"),
    ],
)
def test_an_equal_compression_is_made_once(cli: Cli, how: tuple[str, ...]) -> None:
    typed = ("run", *SMALL, "logger=none", "measure=quick", "measure.examples=100", "method=prune", *how)
    cli(*typed, "measure.seconds=0.05")
    done = cli(*typed, "measure.seconds=0.1", "profile=true")
    first, second = sorted((cli.store / "runs").glob("2*"))
    made, taken = records(cli.store / "runs")
    assert f"the compression is that of {made['id']}, made before" in done.stderr
    assert (second / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    assert (second / "history.csv").read_text() == (first / "history.csv").read_text()
    assert made["compression"]["run"] == taken["compression"]["run"] == made["id"]
    assert taken["parents"] == made["parents"]
    for name in ("sensitivity", "search"):
        assert made.get(name) == taken.get(name)
    of_both = [one for one in made["metrics"] if one.startswith(("train/", "validation/", "compress/", "quality/"))]
    measured_anew = ("train/written_mib", "train/checkpoints_mib", "compress/break_even")
    assert {"train/time_s", "compress/time_s", "validation/loss", "quality/accuracy"} <= set(of_both)
    for name in of_both:
        assert name in measured_anew or made["metrics"][name] == taken["metrics"][name], name
    assert "infer/latency_ms" in taken["metrics"]
    assert any(f"compressed as in {made['id']}" in one for one in taken["data"]["about"])


@pytest.mark.slow
def test_a_compression_of_another_share_seed_or_model_is_made_anew(cli: Cli) -> None:
    typed = ("run", *SMALL, *QUIET, "method=prune", "pruner=magnitude")
    cli(*typed, "sparsity=0.5")
    (dense,) = records(cli.store / "cache")
    for given in ("sparsity=0.6", "method.finetune=0.25", f"checkpoint={dense['id']}"):
        done = cli(*typed, *(["sparsity=0.5"] if "sparsity" not in given else []), given)
        assert "made before" not in done.stderr, given
    (first,) = [one for one in (cli.store / "runs").glob("2*") if records(cli.store / "runs")[0]["id"] == one.name]
    (first / "model.safetensors").write_bytes(b"nothing")
    done = cli(*typed, "sparsity=0.5")
    assert "altered" in done.stderr
    assert "made before" not in done.stderr


def test_what_a_model_has_not_is_an_unsupported_record(cli: Cli) -> None:
    typed = ("task=image", "architecture=vit", "architecture.width=64", "architecture.depth=1", "budget.steps=2", "threads=1")
    message = cli.refused("run", *typed, *QUIET, "method=prune", "pruner=layer_drop", "sparsity=0.5", code=3)
    assert "block" in message
    (record,) = records(cli.store / "runs")
    assert record["status"] == "unsupported"
    assert record["metrics"].get("size/file_mib") is None


def test_a_bad_configuration_trains_nothing(cli: Cli) -> None:
    assert "sparsity=1" in cli.refused("run", *SMALL, "method=prune", "sparsity=1", code=2)
    assert "no such run" in cli.refused("run", *SMALL, "method=prune", "checkpoint=zzz", code=2)
    assert not cli.store.exists()


@pytest.mark.slow
@pytest.mark.parametrize("pace", ["one_shot", "gradual"])
def test_a_pruning_that_was_killed_goes_on_as_if_nothing_had_happened(cli: Cli, pace: str) -> None:
    typed = (*SMALL, *QUIET, "budget.steps=2400", "train.steps_per_call=1", "train.checkpoints=0.05", "regularizer.dropout=0.1",
             "method=prune", "pruner=movement" if pace == "gradual" else "pruner=magnitude", f"method.pace={pace}", "sparsity=0.8",
             "method.finetune=1")  # fmt: skip
    cli("run", *typed)
    (there,) = (cli.store / "runs").glob("2*")
    whole = there.rename(cli.store.parent / there.name)  # else the second would find it
    process, limit = cli.popen("run", *typed), time.monotonic() + 60
    while not (cut := list((cli.store / "runs").glob("2*"))) or len(list(cut[0].glob("checkpoints/step-*.json"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.005)
    worker = json.loads((cut[0] / "result.json").read_text())["attempt"]["pid"]
    process.kill()
    os.kill(worker, signal.SIGKILL)
    process.communicate()
    cli("run", f"resume={cut[0].name}")
    record = json.loads((cut[0] / "result.json").read_text())
    assert "went on after step" in " ".join(record["data"]["about"])
    assert (cut[0] / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert record["parents"] == json.loads((whole / "result.json").read_text())["parents"]
