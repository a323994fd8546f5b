"""Where a saving went: the rows, their sentences, and what pays a compression back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from conftest import Cli
from thrifty.instrument.waterfall import Step, break_even
from thrifty.instrument.why import Facts, why
from thrifty.report.waterfall import waterfall_table

MASKED = Facts(
    physical=False, scheme=None, engine="eager", parameters=1.0, nonzero=0.1, operations=1.0, flops=1e9, latency_s=0.01,
    samples_per_s=200.0, weights_mib=4.0, peak_mib=300.0, ceiling=1e12, fraction=True,
)  # fmt: skip
CUT = replace(MASKED, physical=True, parameters=0.5, nonzero=0.5, operations=0.5)


def latency(ratio: float, low: float | None, high: float | None, dense: float = 4.0) -> list[Step]:
    return [Step("infer/latency_ms", dense, dense * ratio, ratio, low, high, "", "")]


def test_what_a_compression_cost_is_paid_back_by_what_a_prediction_saves() -> None:
    # 10 s over half of 4 ms; at a quarter of the time saved it takes twice as many.
    assert break_even(latency(0.5, 0.25, 0.75), 10.0) == {"value": 5000, "low": 3333, "high": 10_000, "n": 1}


@pytest.mark.parametrize("steps", [[], latency(0.99, 0.97, 1.01), latency(1.2, 1.1, 1.3), latency(0.5, None, None)])
def test_nothing_is_paid_back_where_no_time_is_saved(steps: list[Step]) -> None:
    entry = break_even(steps, 10.0)
    assert entry["value"] is None
    assert entry["reason"]


@pytest.mark.parametrize(
    ("name", "ratio", "facts", "says"),
    [
        ("size/parameters", 1.0, MASKED, "mask-only"),
        ("size/parameters", 0.5, CUT, "physical"),
        ("infer/flops_per_sample", 1.0, MASKED, "multiply by zero"),
        ("infer/peak_host_mib", 1.0, MASKED, "4 of 300 MiB"),
        ("infer/latency_ms", 0.52, CUT, "follows the operations"),
        ("infer/samples_per_s", 1.95, CUT, "follows the operations"),
        # 1 GFLOP in 10 ms is a tenth of what products reach: calls and activations; 200 of them a second is a fifth.
        ("infer/latency_ms", 0.8, CUT, "one example at a time the time goes into calls"),
        ("infer/samples_per_s", 1.2, CUT, "200 of the 1e+03 GFLOP/s"),
        ("infer/latency_ms", 0.8, replace(CUT, flops=8e9), "products take most of it"),
        ("size/file_zstd_mib", 0.17, MASKED, "pays some"),
        ("infer/load_s", 0.97, CUT, "building the modules"),
    ],
)
def test_each_step_says_what_became_of_the_saving(name: str, ratio: float, facts: Facts, says: str) -> None:
    assert says in why(name, ratio, 0.99 * ratio, 1.01 * ratio, facts)


def test_the_same_weights_executed_otherwise_are_told_as_that() -> None:
    facts = replace(MASKED, otherwise="engine=openvino precision=bf16")
    assert (
        why("infer/latency_ms", 0.5, 0.4, 0.6, facts) == "the same weights, executed otherwise: engine=openvino precision=bf16"
    )
    assert why("size/file_mib", 1.0, None, None, facts) == "the same weights"


def test_a_difference_of_a_mask_is_the_machine_s() -> None:
    assert "the machine's" in why("infer/latency_ms", 0.9, 0.88, 0.92, MASKED)
    assert "no difference is to be expected" in why("infer/latency_ms", 0.995, 0.98, 1.01, MASKED)


def test_quality_is_told_in_its_own_unit() -> None:
    assert why("quality/accuracy", -0.01, -0.02, -0.001, CUT) == "paired over the test examples: -2.00 to -0.10 points"
    assert "no difference resolved" in why("quality/accuracy", -0.01, -0.02, 0.001, CUT)
    assert "in the metric's unit" in why("quality/rmse", 1.0, 0.5, 1.5, replace(CUT, fraction=False))
    assert why("quality/accuracy", None, None, None, CUT) == "it could not be compared"


def test_what_is_not_known_is_not_explained_by_it() -> None:
    assert why("infer/latency_ms", 0.8, 0.79, 0.81, replace(CUT, operations=math.nan)) == "smaller products"


def shown(record: dict[str, Any], width: int) -> str:
    from rich.console import Console

    console = Console(width=width, no_color=True)
    with console.capture() as caught:
        for one in waterfall_table(record, width):
            console.print(one)
    return caught.get()


def test_a_pruned_run_ends_with_where_its_saving_went(cli: Cli) -> None:
    typed = ("task=tabular", "budget.steps=30", "measure.seconds=0.1", "measure.processes=0", "threads=1")
    done = cli("run", *typed, "method=prune", "sparsity=0.9", "method.finetune=0.1")
    (run,) = (cli.store / "runs").glob("2*")
    record = json.loads((run / "result.json").read_text())
    steps = {one["metric"]: one for one in record["waterfall"]}
    assert list(steps) == [
        "size/parameters", "size/nonzero", "size/memory_mib", "size/file_mib", "size/file_zstd_mib", "size/file_sparse_mib",
        "infer/nonzero_flops_per_sample", "infer/flops_per_sample", "infer/latency_ms", "infer/samples_per_s", "quality/accuracy",
    ]  # fmt: skip
    assert steps["size/parameters"]["ratio"] == 1
    assert steps["size/nonzero"]["ratio"] == record["metrics"]["size/nonzero"]["value"] / steps["size/nonzero"]["dense"]
    assert steps["infer/nonzero_flops_per_sample"]["ratio"] < 0.2
    assert "pairs of fresh processes" in steps["infer/latency_ms"]["how"]
    assert steps["infer/latency_ms"]["compressed"] / steps["infer/latency_ms"]["dense"] == pytest.approx(
        steps["infer/latency_ms"]["ratio"], rel=0.2
    )
    assert "paired over 142 examples" in steps["quality/accuracy"]["how"]
    assert record["metrics"]["compress/break_even"]
    assert "Where the saving went" in done.stdout
    assert "dense kernels multiply by zero" in done.stdout
    wide = shown(record, 250)
    assert "what became of the saving" in wide
    assert "- latency" not in wide
    narrow = shown(record, 90)
    assert max(map(len, narrow.splitlines())) <= 90
    assert "- latency: " in narrow


def test_a_dense_run_that_is_gone_leaves_a_reason(cli: Cli) -> None:
    from pathlib import Path

    from thrifty.instrument.waterfall import fill

    cli("run", "task=tabular", "budget.steps=5", "logger=none", "measure=none", "threads=1", "method=prune")
    (run,) = (cli.store / "runs").glob("2*")
    record = json.loads((run / "result.json").read_text())
    record["config"]["store"] = str(cli.store)
    record["parents"] = ["20200101T000000000Z-gone"]
    fill(Path(run), record, lambda sentence: None)
    assert record["waterfall"] == []
    assert "not compared with the dense model" in record["data"]["about"][-1]
    assert json.loads((run / "result.json").read_text())["waterfall"] == []
