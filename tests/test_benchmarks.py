"""The benchmarks still run, and their arithmetic is right on timings we made up. What they find is not judged here."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest

from thrifty.measure.statistics import Interval

BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the comparisons share."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("_pairs")


@pytest.fixture
def whole_run(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("whole_run")


def test_a_ratio_is_the_mean_over_pairs_of_their_mean_log_ratios(pairs: Any) -> None:
    # Mean log ratios 0 (2 and 1/2), log 2 (twice the time in each block) and log 2 (once 1, once 4): pairs count, not blocks.
    timings = [[(2.0, 1.0), (1.0, 2.0)], [(6.0, 3.0)], [(1.0, 1.0), (4.0, 1.0)]]
    ratio = pairs.ratio_of(timings)
    deviation = math.sqrt(2 * (math.log(2) / 3) ** 2 + (2 * math.log(2) / 3) ** 2) / math.sqrt(2)
    half = 4.30265273 * deviation / math.sqrt(3)  # t at 0.975 with 2 degrees of freedom, from a table
    assert ratio.value == pytest.approx(2 ** (2 / 3))
    assert (ratio.low, ratio.high) == pytest.approx((2 ** (2 / 3) / math.exp(half), 2 ** (2 / 3) * math.exp(half)))
    assert ratio.n == 3


def test_one_pair_has_a_ratio_without_an_interval(pairs: Any) -> None:
    assert pairs.ratio_of([[(3.0, 2.0)]]) == Interval(pytest.approx(1.5), None, None, 1)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (Interval(0.8, 0.7, 0.9, 8), "met"),
        (Interval(0.8, 0.7, 1.1, 8), "met, not certain"),
        (Interval(1.1, 0.9, 1.3, 8), "missed, not certain"),
        (Interval(1.2, 1.1, 1.3, 8), "missed"),
        (Interval(0.8, None, None, 1), "met, not certain"),
    ],
)
def test_a_verdict_says_whether_the_interval_leaves_it_open(pairs: Any, ratio: Interval, expected: str) -> None:
    assert pairs.verdict(ratio, 1.0) == expected


def one_at_a_time(block_done: Callable[[], None], emit: Callable[[Any], None], lock: str, units: int) -> None:
    """An arm that fails where another works at the same time; `units` of 5 ms a block."""
    while True:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL)
        end = time.perf_counter() + units * 0.005
        while time.perf_counter() < end:
            emit("what an arm tells on the way is not a time")
        os.close(descriptor)
        Path(lock).unlink()
        block_done()


def test_the_arms_of_a_pair_take_turns_and_are_not_mixed_up(pairs: Any, tmp_path: Path) -> None:
    arms = [pairs.Arm(one_at_a_time, {"lock": str(tmp_path / "lock"), "units": units}) for units in (4, 1)]
    # Freshly spawned, as this process may not be forked from a server that lacks this module.
    blocks = pairs.measure_pair(pairs.multiprocessing.get_context("spawn"), arms, warm_up=2, blocks=5, order=Random(0))
    assert len(blocks) == 5
    assert all(first >= 0.02 > second >= 0.005 or second >= 0.02 for first, second in blocks), blocks
    assert pairs.ratio_of([blocks]).value > 1


def fails(block_done: Callable[[], None], emit: Callable[[Any], None]) -> None:
    sys.exit("an arm that cannot work")


def test_an_arm_that_fails_ends_the_comparison(pairs: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EOFError):
        pairs.measure_pair(pairs.multiprocessing.get_context("spawn"), [pairs.Arm(fails, {})] * 2, 1, 1, Random(0))
    assert "an arm that cannot work" in capfd.readouterr().err


def test_losses_of_a_study_are_gathered_by_learning_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A training that ran away has an infinite loss, and so is never the best; one that is there is not made again."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    study = import_module("learning_rates")
    losses = {0.1: [(0.5, "ok"), (0.7, "ok")], 0.4: [(0.2, "ok"), (0.1, "diverged")], 0.2: [(0.3, "ok"), (0.3, "ok")]}
    asked = []

    def fake(arguments: list[str], folder: str, allowed: tuple[int, ...]) -> str:
        assert 6 in allowed
        asked.extend(arguments[-4].removeprefix("optimizer.lr=").split(","))
        made = [(rate, *one) for rate in map(float, asked[-len(arguments[-4].split(",")) :]) for one in losses[rate]]
        for number, (rate, loss, status) in enumerate(made):
            run = tmp_path / "results/sweeps" / f"grid of {arguments[-4]}" / str(number)
            run.mkdir(parents=True)
            metrics = {"validation/loss": {"value": loss}}
            record = {"config": {"optimizer": {"lr": rate}}, "metrics": metrics, "status": status}
            (run / "result.json").write_text(json.dumps(record))
        return ""

    monkeypatch.setattr(study, "output_of", fake)
    assert study.losses(["task=tabular"], [0.1, 0.4], 2, tmp_path) == [pytest.approx(0.6), math.inf]
    assert study.losses(["task=tabular"], [0.1, 0.2, 0.4], 2, tmp_path) == [pytest.approx(0.6), pytest.approx(0.3), math.inf]
    assert asked == ["0.1", "0.4", "0.2"]


def test_a_whole_run_reads_its_row_from_the_record(whole_run: Any) -> None:
    record = {
        "metrics": {"train/time_s": {"value": 12.34}, "train/steps": {"value": 300}, "quality/accuracy": {"value": 0.91234}},
        "data": {"deciding": "accuracy"},
        "flags": ["few_samples"],
    }
    row = whole_run.row_of("", 20.04, 90, record)
    assert row == ["`python run.py`", "20.0", "90", "12.3", "300", "accuracy 0.912", "few_samples"]


def test_what_a_search_found_is_looked_up_among_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    row_of = import_module("optimize").row_of

    def record(ratios: dict[str, float], winner: str, seconds: float) -> dict[str, Any]:
        of_all = {"precision": "fp32", "engine": "openvino", "threads": 2, "batch_size": 1}
        rows = [
            {
                **of_all,
                "quantizer": name,
                "ratio": ratio,
                "low": ratio,
                "high": ratio,
                "status": "winner" if name == winner else "",
            }
            for name, ratio in ratios.items()
        ]
        waterfall = [
            {"metric": "infer/latency_ms", "dense": 4.0, "compressed": 2.0},
            {"metric": "quality/bits_per_byte", "dense": 2.0, "compressed": 2.01, "ratio": 0.01},
        ]
        return {"optimize": rows, "waterfall": waterfall, "metrics": {"compress/time_s": {"value": seconds}}}

    found = record({"none": 1.0, "int8_static": 0.38}, "int8_static", 20)
    everything = record({"none": 1.0, "int8_static": 0.42, "int8_dynamic": 0.4}, "int8_dynamic", 100)
    cells, met = row_of("latency", found, everything, Interval(1.04, 1.03, 1.06))
    assert met
    assert not row_of("latency", found, everything, Interval(1.06, 1.05, 1.07))[1]
    assert cells[3:] == ["1.040 (1.030 to 1.060)", "1.050", "2.63 (2.63 to 2.63)", "4, 2", "+0.50", "20", "100", "0.20", "met"]


COMMANDS = {
    "startup": ("--repetitions=1", "--only=thrifty"),
    "training_step": ("--pairs=1", "--blocks=1", "--only=MLP nano, batch 32, one step"),
    "instrument": ("--repetitions=1", "--sizes=nano", "--pairs=2", "--blocks=2", "--arms=2"),
    "grid": ("--runs=2",),
    "formats": (
        "--rounds=1",
        "--only=dense",
        "--model=nano",
        "--format",
        "npz",
        "--add",
        "architecture.depth=1",
        "budget.steps=2",
    ),
    "structured_pruning": ("--only=ResNet", "--add", "budget.steps=2", "measure.seconds=0.05", "measure.processes=0"),
    "optimize": (
        "--only=latency",
        "--add",
        "architecture.width=64",
        "architecture.depth=1",
        "budget.steps=2",
        "measure.seconds=0.05",
        "measure.processes=0",
        "measure.examples=16",
        "threads=1",
        "method.engines=[eager]",
        "method.quantizers=[none,int8_weight]",
        "method.precisions=[fp32]",
    ),
    "parallel_prediction": ("--rounds=2", "--seconds=0.05", "--only=mlp nano"),
    "whole_run": ("--only=task=tabular", "--add", "budget.steps=20", "measure=none", "logger=none"),
}


_LONG = ("formats", "grid", "instrument", "optimize", "parallel_prediction", "structured_pruning")
"""Those that take half a minute and more however little they are given."""


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.slow] if one in _LONG else []) for one in COMMANDS])
def test_a_benchmark_runs_and_writes_its_table(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *COMMANDS[name], f"--results={tmp_path}"]
    # A target missed is exit 1, and no matter here: other tests run on the same cores.
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr, done.stderr  # which ends with 1 as well
    page = (tmp_path / f"{name}.md").read_text()
    assert done.stdout == page
    assert f"    python tests/benchmarks/{name}.py\n" in page
    assert re.search(r"^\|(---\|)+\n\| .*\d\.\d.* \|$", page, re.MULTILINE), page


@pytest.mark.slow
def test_the_grids_of_pruning_are_printed_as_a_user_sees_them(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "pruning.py"), "--only=tabular", f"--results={tmp_path}", "--add"]
    done = subprocess.run(
        [*command, "budget.steps=2", "measure=none", "threads=1"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "pruning.md").read_text()
    assert done.stdout == page
    assert "python run.py -m method=prune pruner=magnitude,random,n_m,wanda,structured_l1" in page
    rows = [
        line.split() for line in page.splitlines() if line.startswith(("magnitude", "random", "n_m", "wanda", "structured_l1"))
    ]
    assert len(rows) == 15
    assert "weights gone, %" in page  # the curve
