"""method=train from data to record, in short real runs."""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_training import undisturbed
from torch import Tensor, nn

from conftest import QUIET, FinishedRun
from thrifty.config.compose import compose, plain
from thrifty.config.registry import CHOICES, load
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration, BadData, Diverged
from thrifty.events import Event, Preparing
from thrifty.measure.statistics import mean_interval, median_interval, share_interval
from thrifty.methods.arithmetic import training_metrics
from thrifty.methods.evaluate import predictor, scores_of
from thrifty.methods.model import load_trained, manifest_of, same_architecture
from thrifty.methods.train import TrainMethod
from thrifty.metrics import METRICS
from thrifty.record import new_record
from thrifty.stop import StopRequest
from thrifty.store import RunDirectory
from thrifty.tasks.tabular import TableData

CPU = torch.device("cpu")
SMALL = ("task=tabular", "architecture.widths=[8,4]", "budget.steps=6")
TEXT = (
    "task=text",
    "architecture.width=64",
    "architecture.depth=1",
    "architecture.context=8",
    "budget.steps=3",
    "batch_size=4",
)
OF_OTHER_ENGINES = {"compile_cold_s", "compile_warm_s", "prepare_s", "max_error", "relative_error"}
OF_COMPRESSING = {
    "size/file_sparse_mib",
    "size/converted_modules",
    "size/engine_file_mib",
    "infer/nonzero_flops_per_sample",
}
"""Of a compressed model, or one that an engine has exported, with all that is under compress/."""
OF_TEXT = {"bits_per_byte", "prefill_ms", "decode_ms", "tokens_per_s"}
OF_CLASSES = {"accuracy", "f1_macro", "worst_class_accuracy", "auroc", "calibration_error"}
OF_AMOUNTS = {"r2", "rmse", "mae"}


@cache
def composed(*overrides: str) -> Config:
    return compose([*QUIET, *overrides])


@dataclass
class Run:
    """A run as a worker makes it, but in this process."""

    store: Path
    overrides: tuple[str, ...]
    stop: StopRequest = field(default_factory=StopRequest)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = compose([*QUIET, *self.overrides, f"store={self.store}"])
        self.method = TrainMethod(self.config, CPU, self.events.append, self.stop)

    def __call__(self) -> Run:
        record = new_record(plain(self.config), list(self.overrides), "token")
        record["data"] = self.method.prepare({one.split("=")[0] for one in self.overrides})
        directory = RunDirectory.claim(self.store / "runs", record)
        self.path = directory.path
        with undisturbed():
            directory.finish(*self.method.run(directory))
        return self

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        return record

    @property
    def weights_hash(self) -> str:
        return hashlib.sha256((self.path / "model.safetensors").read_bytes()).hexdigest()

    @property
    def history(self) -> list[dict[str, str]]:
        with (self.path / "history.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def run(store: Path) -> Callable[..., Run]:
    return lambda *overrides: Run(store, overrides)()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("".join(f"line {number}: the quick brown fox\n" for number in range(300)))
    return f"task.path={path}"


def values(record: dict[str, Any]) -> dict[str, float]:
    return {name: one["value"] for name, one in record["metrics"].items() if one["value"] is not None}


# -- what the record holds ----------------------------------------------------------------------------------------------


def check_metrics(record: dict[str, Any], of_task: set[str]) -> None:
    """Every declared metric of the task, as a number or with a reason."""
    others = (OF_TEXT | OF_CLASSES | OF_AMOUNTS | OF_OTHER_ENGINES) - of_task
    expected = {name for name in METRICS if name.split("/")[1] not in others} - OF_COMPRESSING
    expected = {name for name in expected if not name.startswith("compress/")}
    metrics = record["metrics"]
    assert set(metrics) == expected
    for name, one in metrics.items():
        if one["value"] is None:
            assert one["reason"], name
            assert set(one) == {"value", "reason"}, name
        else:
            assert math.isfinite(one["value"]), name
            assert one["low"] is None or one["low"] <= one["value"], name
            assert one["high"] is None or one["high"] >= one["value"], name
    missing = {name for name, one in metrics.items() if one["value"] is None}
    allowed = {
        "train/peak_device_mib",
        "train/time_to_target_s",
        "infer/latency_p90_ms",
        "infer/latency_p99_ms",
        "infer/peak_device_mib",
        "train/energy_j",
        "infer/energy_j_per_sample",
    }
    assert missing <= allowed


def test_a_measured_run_of_the_command_line_has_every_metric(tabular_run: FinishedRun) -> None:
    record = tabular_run.record
    check_metrics(record, OF_CLASSES)
    found = values(record)
    # 30 inputs, 128-64-32, 1 output: two operations a weight forwards, as many again twice backwards but for the inputs.
    forward = 2 * (30 * 128 + 128 * 64 + 64 * 32 + 32)
    assert found["infer/flops_per_sample"] == forward
    assert found["train/flops"] == (3 * forward - 2 * 30 * 128) * 40 * 32
    assert found["size/parameters"] == 30 * 128 + 128 + 128 * 64 + 64 + 64 * 32 + 32 + 32 + 1
    assert found["train/steps"] == 40


def test_a_measured_run_on_text_has_every_metric(run: Callable[..., Run], corpus: str) -> None:
    one = run(*TEXT, corpus, "measure=quick", "measure.seconds=0.1", "threads=1")
    check_metrics(one.record, OF_TEXT)
    found = values(one.record)
    assert found["size/file_mib"] == (one.path / "model.safetensors").stat().st_size / 2**20
    assert found["quality/bits_per_byte"] == pytest.approx(found["quality/loss"] / math.log(2))
    assert found["train/mfu_pct"] > 0
    ceiling = json.loads((one.path / "samples.json").read_text())["ceiling_flops_per_s"]
    assert found["train/mfu_pct"] == pytest.approx(100 * found["train/flops"] / found["train/time_s"] / ceiling)


def test_an_amount_is_measured_by_its_own_metrics(run: Callable[..., Run]) -> None:
    record = run(*SMALL, "task.target=mean area").record
    assert {name.split("/")[1] for name in record["metrics"] if name.startswith("quality/")} == {*OF_AMOUNTS, "loss", "gap"}
    assert record["data"]["deciding"] == "r2"


@pytest.mark.parametrize("of_text", [False, True])
def test_metrics_can_be_derived_again_from_the_raw_samples(run: Callable[..., Run], corpus: str, of_text: bool) -> None:
    if of_text:
        one = run(*TEXT, corpus, "measure=quick", "measure.seconds=0.1", "threads=1", "train.steps_per_call=1")
    else:
        one = run(*SMALL, "budget.steps=20", "measure=quick", "measure.seconds=0.1", "threads=1", "target=0.1")
    metrics, samples = one.record["metrics"], json.loads((one.path / "samples.json").read_text())

    def assert_same(name: str, *bounds: float | None) -> None:
        assert [metrics[name][part] for part in ("value", "low", "high")] == list(bounds), name

    scores = {name: np.array(one) for name, one in samples["quality/test"].items()}
    loss = mean_interval(scores["loss"])
    assert loss.low is not None
    assert_same("quality/loss", loss.value, max(0.0, loss.low), loss.high)
    if not of_text:
        share = share_interval(int(scores["correct"].sum()), len(scores["correct"]))
        assert_same("quality/accuracy", share.value, share.low, share.high)
    calls = [(int(steps), seconds, wait) for steps, seconds, wait in samples["train/calls"]]
    again = training_metrics(calls, one.method.batch_size, None, None)
    for name in ("train/step_ms", "train/samples_per_s", "train/first_step_s", "train/time_s", "train/steps"):
        assert_same(name, again[name]["value"], again[name]["low"], again[name]["high"])
    latency = median_interval(np.array(samples["infer/latency_s"]["seconds"])).scaled(1e3)
    assert_same("infer/latency_ms", latency.value, latency.low, latency.high)
    batches = samples["infer/batch_s"]
    assert metrics["infer/samples_per_s"]["value"] == pytest.approx(batches["batch_size"] / np.median(batches["seconds"]))
    assert batches["batch_size"] == one.config.batch_size
    if of_text:
        prompts, tokens = samples["infer/prefill_s"], samples["infer/decode_s"]
        prefill = median_interval(np.array(prompts["seconds"])).scaled(1e3)
        assert_same("infer/prefill_ms", prefill.value, prefill.low, prefill.high)
        decoded = np.median(tokens["seconds"]) / len(tokens["positions"])
        assert metrics["infer/decode_ms"]["value"] == pytest.approx(1e3 * decoded)
        assert metrics["infer/tokens_per_s"]["value"] == pytest.approx(1 / decoded)


def test_without_measurements_there_is_quality_and_the_cost_of_training(run: Callable[..., Run]) -> None:
    one = run(*SMALL)
    assert one.record["status"] == "ok"
    names = set(one.record["metrics"])
    assert not any(name.startswith("infer/") for name in names)
    assert {"quality/accuracy", "validation/accuracy", "train/step_ms", "size/parameters", "train/written_mib"} <= names
    written = sum(file.stat().st_size for file in one.path.iterdir() if file.name != "result.json")
    # The record itself, as it stood while it ran, is counted too; the space kept for its last version is not.
    assert written < values(one.record)["train/written_mib"] * 2**20 < written + (one.path / "result.json").stat().st_size


def test_the_gap_is_training_less_validation(run: Callable[..., Run]) -> None:
    one = run(*SMALL, "measure.examples=80")
    trained = load_trained(one.path, CPU)
    scores = scores_of(predictor(trained.module, trained.precision, CPU), one.method.data, "train", 20)
    found = values(one.record)
    assert found["quality/gap"] == pytest.approx(scores["correct"].mean() - found["validation/accuracy"])


def test_the_gap_of_a_target_of_several_classes_and_of_a_number(run: Callable[..., Run], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    lines = (f"{number % 7},{number % 13},{'rgb'[number % 3]},{(number % 7) * 1.5 + number % 3}" for number in range(100))
    path.write_text("\n".join(["one,two,colour,price", *lines]))
    for target, deciding in (("colour", "accuracy"), ("price", "r2")):
        one = run(*SMALL, f"task.path={path}", f"task.target={target}", "batch_size=16")
        found, data = values(one.record), one.method.data
        trained = load_trained(one.path, CPU)
        train = data.summarise(scores_of(predictor(trained.module, trained.precision, CPU), data, "train", None))
        assert found["quality/gap"] == pytest.approx(train[deciding].value - found[f"validation/{deciding}"])


def test_many_probabilities_are_left_out_of_the_samples_and_that_is_said(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thrifty.methods.findings._MOST_KEPT", 283)
    one = run(*SMALL)
    kept = json.loads((one.path / "samples.json").read_text())["quality/test"]
    assert {name: len(scores) for name, scores in kept.items()} == {"loss": 142, "correct": 142, "truth": 142}
    said = "samples.json leaves out the probability of 142 test examples: 284 numbers, more than 283"
    assert one.record["data"]["about"][-1] == said
    assert values(one.record)["quality/auroc"] > 0


def test_it_looks_at_no_more_examples_than_asked_for(run: Callable[..., Run]) -> None:
    metrics = run(*SMALL, "measure.examples=40").record["metrics"]
    assert (metrics["quality/accuracy"]["n"], metrics["validation/accuracy"]["n"]) == (40, 10)
    metrics = run(*SMALL).record["metrics"]
    assert (metrics["quality/accuracy"]["n"], metrics["validation/accuracy"]["n"]) == (142, 85)


# -- the same again -----------------------------------------------------------------------------------------------------


def test_further_batch_sizes_have_metrics_of_their_own_by_the_samples(run: Callable[..., Run]) -> None:
    one = run(*SMALL, "measure.seconds=0.1", "measure.batch_sizes=[3,1]", "threads=1")
    metrics, samples = one.record["metrics"], json.loads((one.path / "samples.json").read_text())
    for size in (1, 3):
        seconds = np.array(samples[f"infer/batch_{size}_s"]["seconds"])
        interval = median_interval(seconds).scaled(1e3)
        latency, rate = metrics[f"infer/batch_{size}/latency_ms"], metrics[f"infer/batch_{size}/samples_per_s"]
        assert (latency["value"], latency["low"], latency["high"]) == (interval.value, interval.low, interval.high)
        assert rate["value"] == pytest.approx(size / np.median(seconds))
        assert rate["low"] is None or rate["low"] <= rate["value"] <= rate["high"]


def test_a_seed_gives_the_same_weights_and_another_seed_others(run: Callable[..., Run]) -> None:
    shared = (*SMALL, "regularizer.dropout=0.3")
    first, again, other = run(*shared), run(*shared), run(*shared, "seed=1")
    assert first.path != again.path
    assert first.weights_hash == again.weights_hash != other.weights_hash
    assert [row["train/loss"] for row in first.history] == [row["train/loss"] for row in again.history]
    for name in ("quality/loss", "quality/accuracy", "validation/loss"):
        assert first.record["metrics"][name] == again.record["metrics"][name]


def test_how_often_it_is_validated_and_called_changes_no_weight(run: Callable[..., Run]) -> None:
    shared = (*SMALL, "regularizer.dropout=0.3")
    hashes = {
        run(*shared, *others).weights_hash
        for others in (("train.validations=0",), ("train.validations=6",), ("train.steps_per_call=1",), ("measure.examples=4",))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("precision", ["precision=fp32", "precision=bf16"])
def test_the_models_quality_is_that_of_the_file_on_disk(run: Callable[..., Run], precision: str) -> None:
    """Dropout and all: what is evaluated in training, and what a user gets, are the same function."""
    one = run(*SMALL, precision, "regularizer.dropout=0.5", "regularizer.label_smoothing=0.2", "train.validations=3")
    trained = load_trained(one.path, CPU, one.record["config_hash"])
    predict = predictor(trained.module, trained.precision, CPU)
    data = load("task", "tabular")(one.config.task).prepare(one.config.architecture)
    for split, name in (("validation", "validation"), ("test", "quality")):
        summary = data.summarise(scores_of(predict, data, split, None))
        for metric in ("accuracy", "loss"):
            found = one.record["metrics"][f"{name}/{metric}"]
            interval = summary[metric]
            assert (found["value"], found["low"], found["high"]) == (interval.value, interval.low, interval.high)


# -- batch sizes and precisions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "examples"), [("1", 1), ("7", 7), ("342", 342), ("full", 342)])
def test_every_size_of_batch_trains(run: Callable[..., Run], batch_size: str, examples: int) -> None:
    one = run(*SMALL, f"batch_size={batch_size}", "train.steps_per_call=2")
    found, calls = values(one.record), json.loads((one.path / "samples.json").read_text())["train/calls"]
    assert found["train/steps"] == sum(steps for steps, _, _ in calls) == 6
    step_s = sum(seconds for _, seconds, _ in calls[1:]) / sum(steps for steps, _, _ in calls[1:])
    assert found["train/samples_per_s"] == pytest.approx(examples / step_s)
    assert one.weights_hash != run(*SMALL, "batch_size=32").weights_hash


def test_the_whole_split_is_the_same_batch_by_number_and_by_name(run: Callable[..., Run]) -> None:
    assert run(*SMALL, "batch_size=342").weights_hash == run(*SMALL, "batch_size=full").weights_hash


def test_a_full_batch_too_large_for_one_pass_is_summed_over_parts(run: Callable[..., Run], corpus: str) -> None:
    one = run(*TEXT[:-1], corpus, "batch_size=full", "budget.steps=2")
    examples = one.method.data.sizes["train"]
    assert examples > one.method.data.most_at_once
    assert one.record["data"]["examples"]["train"] == examples == one.method.batch_size
    assert values(one.record)["train/steps"] == 2


def test_epochs_become_steps(run: Callable[..., Run]) -> None:
    found = values(run("task=tabular", "architecture.widths=[4]", "budget.epochs=1.5", "batch_size=100").record)
    assert found["train/steps"] == 6  # 1.5 * 342 / 100, rounded up


def test_the_default_batch_gives_way_to_a_small_split(run: Callable[..., Run], store: Path) -> None:
    store.parent.joinpath("small.csv").write_text("x,y\n" + "".join(f"{n},{n % 2}\n" for n in range(30)))
    table = ("task=tabular", f"task.path={store.parent / 'small.csv'}", "task.target=y", "budget.steps=2")
    one = run(*table)
    assert one.method.batch_size == one.record["data"]["examples"]["train"] == 18
    assert "the training split's 18 examples make one batch: 32 are more" in one.record["data"]["about"]
    with pytest.raises(BadConfiguration, match=r"^batch_size=32: the training split has 18 examples"):
        run(*table, "batch_size=32")


def test_an_amount_has_no_label_to_smooth(run: Callable[..., Run]) -> None:
    table = ("task=tabular", "task.target=mean area", "regularizer.label_smoothing=0.1")
    with pytest.raises(BadConfiguration, match=r"^regularizer.label_smoothing=0.1: smooths .* this target is a number"):
        run(*table)


def test_a_batch_larger_than_the_split_is_refused_before_anything_is_written(store: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"^batch_size=343: the training split has 342 examples; give at most that"):
        Run(store, (*SMALL, "batch_size=343"))()
    assert not store.exists()


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (("precision=fp32",), torch.float32),
        (("precision=bf16",), torch.float32),
        (("precision=bf16", "precision.weights=bf16"), torch.bfloat16),
    ],
)
def test_every_precision_trains_saves_and_measures(run: Callable[..., Run], precision: tuple[str, ...], dtype: Any) -> None:
    one = run(*SMALL, *precision, "budget.steps=60", "optimizer.lr=0.02", "measure=quick", "measure.seconds=0.05", "threads=1")
    check_metrics(one.record, OF_CLASSES)
    trained = load_trained(one.path, CPU)
    assert {weight.dtype for weight in trained.module.parameters()} == {dtype}
    parameters = values(one.record)["size/parameters"]
    header = int.from_bytes((one.path / "model.safetensors").read_bytes()[:8], "little")
    assert (one.path / "model.safetensors").stat().st_size == 8 + header + parameters * dtype.itemsize
    assert values(one.record)["quality/accuracy"] > 0.8


def test_bf16_computes_other_numbers_than_fp32(run: Callable[..., Run]) -> None:
    assert run(*SMALL, "precision=bf16").weights_hash != run(*SMALL, "precision=fp32").weights_hash


# -- schedule and history -----------------------------------------------------------------------------------------------


def test_inverse_time_in_the_history_is_the_formula(run: Callable[..., Run]) -> None:
    one = run(*SMALL, "budget.steps=50", "optimizer=sgd", "optimizer.lr=0.3", "schedule=inverse_time", "schedule.beta=0.2")
    assert [int(row["step"]) for row in one.history] == list(range(1, 51))
    for row in one.history:
        assert float(row["train/lr"]) == pytest.approx(0.3 / (1 + 0.2 * (int(row["step"]) - 1)), rel=1e-12)


def test_the_history_is_told_and_written_alike(run: Callable[..., Run]) -> None:
    one = run(*SMALL, "train.validations=2")
    assert [row["step"] for row in one.history if row["validation/loss"]] == ["3", "6"]
    assert float(one.history[-1]["validation/loss"]) == values(one.record)["validation/loss"]
    times = [float(row["seconds"]) for row in one.history]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(values(one.record)["train/time_s"])
    assert all(math.isfinite(float(row["train/loss"])) for row in one.history)


def test_phases_are_told_in_order(run: Callable[..., Run]) -> None:
    told = [event.what for event in run(*SMALL).events if isinstance(event, Preparing)]
    assert told == [
        "reading the tabular data", "building the model", "training", "saving the weights", "evaluating on the test split",
    ]  # fmt: skip


# -- from a checkpoint --------------------------------------------------------------------------------------------------


STANDING_STILL = ("optimizer=sgd", "optimizer.lr=1e-30", "budget.steps=1")
"""Steps too small to move a weight of 32 bits."""


def test_a_checkpoint_gives_the_weights_to_start_from(run: Callable[..., Run]) -> None:
    parent = run(*SMALL)
    child = run(*SMALL, *STANDING_STILL, "seed=5", f"checkpoint={parent.record['id']}")
    assert child.weights_hash == parent.weights_hash
    assert child.record["parents"] == [parent.record["id"]]
    assert parent.record["parents"] == []
    assert run(*SMALL, *STANDING_STILL, "seed=5").weights_hash != parent.weights_hash
    moved = run(*SMALL, f"checkpoint={parent.path}")  # by its directory; and it goes on learning
    assert moved.weights_hash != parent.weights_hash
    assert values(moved.record)["validation/loss"] < values(parent.record)["validation/loss"]


def test_a_checkpoint_of_another_precision_is_cast(run: Callable[..., Run]) -> None:
    parent = run(*SMALL)
    child = run(*SMALL, *STANDING_STILL, "precision=bf16", "precision.weights=bf16", f"checkpoint={parent.record['id']}")
    before, after = load_trained(parent.path, CPU).module.state_dict(), load_trained(child.path, CPU).module.state_dict()
    assert all(torch.equal(after[name], before[name].bfloat16()) for name in before)


@pytest.mark.parametrize("name", CHOICES["architecture"])
def test_a_manifest_is_known_as_of_the_architecture_it_was_written_of(name: str) -> None:
    task = CHOICES["architecture"][name].schema.TASKS[0]  # type: ignore[attr-defined]
    config = compose([f"task={task}", f"architecture={name}"])
    manifest = json.loads(json.dumps(manifest_of(plain(config), "", {}, {})))
    assert same_architecture(config.architecture, manifest)
    other = compose([f"task={task}", f"architecture={name}", "model=tiny"])
    assert not same_architecture(other.architecture, manifest)


@pytest.mark.parametrize("other", ["architecture.widths=[8,5]", "model=tiny", "task.ignore=[mean area]"])
def test_a_checkpoint_of_another_model_is_refused_before_anything_is_written(run: Callable[..., Run], other: str) -> None:
    parent = run(*SMALL)
    overrides = ("task=tabular", "budget.steps=1", other) if other == "model=tiny" else (*SMALL, other)
    with pytest.raises(BadConfiguration, match=r"^checkpoint=.*: holds .*; give the same architecture, model and data$"):
        run(*overrides, f"checkpoint={parent.record['id']}")
    assert list((parent.path.parent).iterdir()) == [parent.path]


def test_a_checkpoint_that_was_altered_or_is_not_there_is_refused(run: Callable[..., Run]) -> None:
    parent = run(*SMALL)
    with pytest.raises(BadConfiguration, match="no-such-run: no such run"):
        run(*SMALL, "checkpoint=no-such-run")
    weights = parent.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BadData, match="was altered or truncated"):
        run(*SMALL, f"checkpoint={parent.record['id']}")


# -- runs that end before their time ------------------------------------------------------------------------------------


def test_a_stopped_run_keeps_its_weights_and_leaves_the_test_split_untouched(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Run(store, (*SMALL, "budget.steps=500", "train.validations=250", "train.steps_per_call=1"))
    seen: list[str] = []
    steps = itertools.count(1)
    batch, loss = TableData.batch, TableData.loss

    def watched(data: TableData, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(split)
        return batch(data, split, draws)

    def stopping(data: TableData, *arguments: Any) -> Tensor:
        if next(steps) == 5:
            one.stop.reason = "terminated"  # as a signal would have it
        return loss(data, *arguments)

    monkeypatch.setattr(TableData, "batch", watched)
    monkeypatch.setattr(TableData, "loss", stopping)
    record = one().record
    assert (record["status"], record["reason"]) == ("preempted", "terminated at step 5 of 500")
    assert set(seen) == {"train", "validation"}
    assert record["metrics"]["quality/accuracy"]["reason"] == "the run was stopped; the test split was left untouched"
    assert values(record)["train/steps"] == 5
    assert [row["step"] for row in one.history] == ["1", "2", "4", "5"]
    load_trained(one.path, CPU, record["config_hash"])


def test_a_run_that_diverges_keeps_its_figures_up_to_there(store: Path) -> None:
    one = Run(store, (*SMALL, "optimizer=sgd", "optimizer.lr=1e20", "budget.steps=30", "schedule=constant"))
    with pytest.raises(Diverged, match=r"^the loss became (nan|inf) at step [2-9]; lower optimizer.lr=1e\+20"):
        one()
    found = values({"metrics": one.method.findings.metrics})
    assert found["train/steps"] >= 2
    assert found["train/first_step_s"] > 0
    assert not any(name.startswith("quality/") for name in one.method.findings.metrics)
    assert one.history
    assert all(math.isfinite(float(row["train/loss"])) for row in one.history)
    assert not (one.path / "model.safetensors").exists()


def test_a_run_whose_last_step_diverges_is_not_taken_for_a_good_one(store: Path) -> None:
    one = Run(store, (*SMALL, "optimizer=sgd", "optimizer.lr=1e30", "budget.steps=1"))
    with pytest.raises(Diverged, match=r"^the validation loss became (inf|nan) at step 1; lower optimizer.lr=1e\+30"):
        one()


def test_a_disk_that_fills_up_is_told_in_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("thrifty.methods.findings.write_atomically", full_disk)
    with pytest.raises(
        BadData, match=r"samples.json: cannot be written \(No space left on device\); free some space"
    ) as caught:
        Run(store, SMALL)()
    assert "\n" not in str(caught.value)


def test_stopping_early_saves_the_best_weights(run: Callable[..., Run]) -> None:
    one = run(
        *SMALL,
        "budget.steps=200",
        "optimizer=sgd",
        "optimizer.lr=3",
        "schedule=constant",
        "train.validations=100",
        "train.patience=3",
    )
    accuracies = [float(row["validation/accuracy"]) for row in one.history if row["validation/accuracy"]]
    assert "stopped_early" in one.record["flags"]
    assert values(one.record)["validation/accuracy"] == max(accuracies)
    trained = load_trained(one.path, CPU)
    data = one.method.data
    summary = data.summarise(scores_of(predictor(trained.module, trained.precision, CPU), data, "validation", None))
    assert summary["accuracy"].value == max(accuracies)
    for name, interval in summary.items():  # of the weights that were kept, and with the intervals training does without
        found = one.record["metrics"][f"validation/{name}"]
        assert (found["value"], found["low"], found["high"]) == (interval.value, interval.low, interval.high), name


# -- a model as a function ----------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_first_examples_however_they_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed(*SMALL)
    data = load("task", "tabular")(config.task).prepare(config.architecture)
    torch.manual_seed(0)
    predict = predictor(nn.Sequential(nn.Linear(30, 1), nn.Dropout(0.9)), load("precision", "fp32")(config.precision), CPU)
    whole = scores_of(predict, data, "test", None)
    assert len(whole["loss"]) == 142
    monkeypatch.setattr(type(data), "most_at_once", 10)
    np.testing.assert_allclose(scores_of(predict, data, "test", None)["loss"], whole["loss"], rtol=1e-6)
    few = scores_of(predict, data, "test", 25)
    np.testing.assert_allclose(few["loss"], whole["loss"][:25], rtol=1e-6)
    assert len(scores_of(predict, data, "test", 10**9)["loss"]) == 142
    inputs, targets = data.batch("test", torch.arange(142))
    by_hand = data.scores(predict(inputs), targets)["loss"]
    np.testing.assert_allclose(whole["loss"], by_hand.numpy(), rtol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predictions_are_float32_without_gradients_and_without_dropout(precision: str) -> None:
    config = composed("task=tabular", f"precision={precision}")
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9)).train()
    predict = predictor(model, load("precision", precision)(config.precision), CPU)
    first, second = predict(torch.ones(2, 4)), predict(torch.ones(2, 4))
    assert first.dtype == torch.float32
    assert not first.requires_grad
    assert torch.equal(first, second)
    assert not model.training


# -- a fresh process, and a profile -------------------------------------------------------------------------------------


def test_a_fresh_process_tells_of_loading_and_its_samples_are_kept(run: Callable[..., Run]) -> None:
    one = run(*SMALL, "measure.processes=2", "threads=1")
    found = one.record["metrics"]
    samples = json.loads((one.path / "samples.json").read_text())["infer/lean"]
    assert [sample["threads"] for sample in samples] == [1, 1]  # as the training has
    assert found["infer/load_s"]["n"] == 2
    assert found["infer/load_s"]["value"] == pytest.approx(np.mean([sample["load_s"] for sample in samples]))
    assert "infer/latency_ms" not in found


def test_loading_that_was_not_asked_for_is_missing_with_the_reason(run: Callable[..., Run]) -> None:
    found = run(*SMALL, "measure.seconds=0.05", "measure.processes=0").record["metrics"]
    assert found["infer/load_s"] == {"value": None, "reason": "measure.processes=0: no fresh process was asked for"}
    assert found["infer/latency_ms"]["value"] > 0


def test_a_profile_lies_beside_the_record_and_leaves_what_was_saved_and_measured_alone(run: Callable[..., Run]) -> None:
    plain_run, one = run(*SMALL, "threads=1"), run(*SMALL, "threads=1", "profile=true")
    assert one.weights_hash == plain_run.weights_hash
    assert values(one.record)["quality/loss"] == values(plain_run.record)["quality/loss"]
    assert values(one.record)["train/steps"] == 6
    assert "profile" not in plain_run.record
    operations = one.record["profile"]
    assert len(operations) == 10
    names = [operation["name"] for operation in operations]
    assert "training step: between operations" in names
    assert all(0 < operation["share"] < 1 and operation["calls"] >= 3 for operation in operations)
    trace = json.loads(gzip.decompress((one.path / "trace.json.gz").read_bytes()))
    for phase in ("training step", "prediction"):
        assert sum(event.get("name") == phase and event.get("ph") == "X" for event in trace["traceEvents"]) == 3
    memory = json.loads((one.path / "memory.json").read_text())
    assert any(operation["self_bytes"] > 0 for operation in memory["operations"])


def test_a_batch_of_the_whole_split_is_profiled_too(run: Callable[..., Run]) -> None:
    one = run(*SMALL, "batch_size=full", "profile=true")
    assert one.record["status"] == "ok"
    assert len(one.record["profile"]) == 10


def test_a_stopped_run_is_not_profiled(store: Path) -> None:
    stop = StopRequest()
    stop.reason = "interrupted"
    one = Run(store, (*SMALL, "profile=true"), stop)
    record = new_record(plain(one.config), [], "token")
    record["data"] = one.method.prepare(set())
    directory = RunDirectory.claim(store / "runs", record)
    directory.finish(*one.method.run(directory))
    assert record["status"] == "killed"
    assert "profile" not in record


def test_a_budget_in_operations_gives_each_size_the_steps_that_it_pays_for() -> None:
    budget = compose(["budget.flops=1e6"]).budget
    # 2 FLOP a weight forward and 4 backward: 6 * 100 weights of an example, 8 of them a step, is 4,800 a step.
    assert budget.steps_for(1000, 8, 600) == 208
    assert budget.steps_for(1000, 8, 1200) == 104
    assert budget.steps_for(1000, 8, 10**9) == 1
