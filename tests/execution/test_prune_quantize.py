"""method=prune_quantize: one command for both steps, each made once, held against the dense model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import QUIET, Cli
from thrifty.execution.dense import dense_overrides, pruned_overrides

SMALL = ("task=tabular", "architecture.widths=[64,32]", "budget.steps=20", "threads=1")
BOTH = ("method=prune_quantize", "pruner=structured_l1", "sparsity=0.5")


def by_method(store: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(one.read_text()) for one in store.glob("*/2*/result.json")]
    assert len({one["config"]["method"]["name"] for one in found}) == len(found)
    return {one["config"]["method"]["name"]: one for one in found}


def test_the_pruning_is_the_same_command_without_what_quantising_has() -> None:
    typed = [
        *BOTH,
        "quantizer=int8_static",
        "quantizer.keep=[head]",
        "method.calibration=64",
        "engine=compile",
        "max_quality_loss=1",
    ]
    pruned = ["pruner=structured_l1", "sparsity=0.5", "seed=3", "method=prune"]
    assert pruned_overrides([*typed, "seed=3", "name=x"]) == pruned
    assert dense_overrides(pruned) == ["seed=3"]


@pytest.mark.slow
def test_both_steps_in_one_command_come_to_what_two_commands_come_to(cli: Cli) -> None:
    typed = (*SMALL, "logger=none", "measure=quick", "measure.seconds=0.05", "measure.examples=100")
    cli("run", *typed, *BOTH)
    made = by_method(cli.store)
    dense, pruned, both = made["train"], made["prune"], made["prune_quantize"]
    assert pruned["parents"] == [dense["id"]]
    assert both["parents"] == [pruned["id"], dense["id"]]
    rows = {one["metric"]: one for one in both["waterfall"]}
    assert rows["size/parameters"]["dense"] == dense["metrics"]["size/parameters"]["value"]
    assert rows["size/file_mib"]["dense"] == dense["metrics"]["size/file_mib"]["value"]
    sizes = [one["metrics"]["size/memory_mib"]["value"] for one in (dense, pruned, both)]
    assert sizes == sorted(sizes, reverse=True)
    assert both["metrics"]["compress/sparsity"] == pruned["metrics"]["compress/sparsity"]
    assert both["metrics"]["compress/time_s"]["value"] > pruned["metrics"]["compress/time_s"]["value"]
    assert both["metrics"]["compress/flops"] == pruned["metrics"]["compress/flops"], "nothing was trained after it"
    cli("run", *typed, "method=quantize", f"checkpoint={pruned['id']}")
    alone = by_method(cli.store)["quantize"]
    weights = [(cli.store / "runs" / one["id"] / "model.safetensors").read_bytes() for one in (both, alone)]
    assert weights[0] == weights[1]
    assert alone["metrics"]["quality/accuracy"] == both["metrics"]["quality/accuracy"]


@pytest.mark.slow
def test_each_step_is_made_once(cli: Cli) -> None:
    cli("run", *SMALL, *QUIET, *BOTH)
    made = by_method(cli.store)
    again = cli("run", *SMALL, *QUIET, *BOTH, "quantizer=int8_weight")
    assert f"the dense model is that of {made['train']['id']}, trained before" in again.stderr
    assert f"the pruned model is that of {made['prune']['id']}, made before" in again.stderr
    assert "the compression is" not in again.stderr
    same = cli("run", *SMALL, *QUIET, *BOTH, "quantizer=int8_weight", "name=again")
    assert "the compression is that of" in same.stderr
    other = cli("run", *SMALL, *QUIET, *BOTH, "sparsity=0.25")
    assert "trained before" in other.stderr
    assert "the dense model is pruned, once for all that begins with it" in other.stderr


@pytest.mark.slow
def test_a_named_dense_model_is_pruned_first(cli: Cli) -> None:
    cli("run", *SMALL, *QUIET, "seed=5")
    dense = cli.record()
    cli("run", *SMALL, *QUIET, *BOTH, f"checkpoint={dense['id']}")
    made = by_method(cli.store)
    assert made["prune"]["parents"] == [dense["id"]]
    assert made["prune_quantize"]["parents"] == [made["prune"]["id"], dense["id"]]


@pytest.mark.slow
def test_a_grid_of_both_has_one_row_for_the_dense_model(cli: Cli) -> None:
    typed = (*SMALL, "logger=none", "measure=quick", "measure.seconds=0.05", "measure.examples=100")
    done = cli("run", "-m", *typed, "method=prune_quantize", "sparsity=0.5,0.75", "quantizer=int8_dynamic")
    table = done.stdout.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table[1:]] == ["dense", "magnitude", "magnitude"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("sparsity=auto",), "sparsity=auto method=prune_quantize: do not go together; prune first, by method=prune"),
        (
            ("pruner=movement",),
            "pruner=movement method=prune_quantize: do not go together; it prunes by method.pace=iterative or gradual",
        ),
        (("method.pace=gradual",), "method=prune_quantize has no such key"),
        (("objective=latency",), "goes with method=optimize only"),
    ],
)
def test_what_pruning_first_cannot_do_is_refused_before_anything_is_trained(
    cli: Cli, typed: tuple[str, ...], said: str
) -> None:
    assert said in cli.refused("run", *SMALL, "method=prune_quantize", *typed, code=2)
    assert not cli.store.exists()
