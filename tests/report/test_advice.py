"""What a run suggests to do next, with the times worked out by hand."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from example_pruned import make_pruned, row
from example_record import make_record

from thrifty.config.compose import compose
from thrifty.config.registry import CHOICES
from thrifty.metrics import measured
from thrifty.report.advice import next_steps
from thrifty.report.plan import full_seconds, planned_steps, without


def cut_short(*overrides: str, step_ms: float, steps: int = 9, **fields: Any) -> dict[str, Any]:
    metrics = {"train/step_ms": measured(step_ms), "train/steps": measured(steps)}
    return make_record(*overrides, flags=["budget_reached"], metrics=metrics, **fields)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["budget.steps=300"], 300),
        (["budget.epochs=10", "batch_size=32"], 107),  # 3410 / 32 = 106.6
        (["budget.epochs=0.5", "batch_size=full"], 1),
        (["budget.epochs=7", "batch_size=full"], 7),
        (["budget.epochs=1", "batch_size=1"], 341),
    ],
)
def test_the_steps_a_run_was_meant_to_make(overrides: list[str], steps: int) -> None:
    assert planned_steps(make_record(*overrides)) == steps


def test_the_steps_of_unread_data_are_unknown() -> None:
    assert planned_steps(make_record("budget.epochs=1", data={})) is None


def test_a_full_run_s_time_is_steps_times_the_step() -> None:
    epochs = compose(["task=tabular", "budget=full"]).budget.epochs
    assert epochs == 100
    record = cut_short("batch_size=10", "budget.seconds=5", step_ms=2.0)
    assert full_seconds(record) == pytest.approx(3410 * 0.002)


def test_after_a_single_step_the_first_is_the_measure() -> None:
    record = cut_short("batch_size=10", step_ms=2.0, steps=1)
    record["metrics"]["train/step_ms"] = {"value": None, "reason": "the run made a single step"}
    record["metrics"]["train/first_step_s"] = measured(3.0)
    assert full_seconds(record) == pytest.approx(3410 * 3.0)


def test_a_full_run_of_minutes_is_suggested_with_its_length() -> None:
    # 100 epochs of 341 rows in batches of 10 are 3410 steps; at 200 ms they take 682 s.
    found = next_steps(cut_short("batch_size=10", "budget.seconds=5", step_ms=200.0))
    assert found[0] == (
        "python run.py task=tabular batch_size=10 budget=full",
        "training to its end: about 11 min at this speed",
    )


def test_before_a_full_run_of_hours_comes_a_shorter_one() -> None:
    # 3410 steps of 12 s take 11.4 h; ten minutes make 50 of the 341 planned.
    record = cut_short("batch_size=10", "budget.epochs=10", step_ms=12_000.0)
    first, second, last = next_steps(record)
    assert first == (
        "python run.py task=tabular batch_size=10 budget.epochs=10 budget.seconds=600",
        "ten minutes of training, enough for about 50 of the 341 steps",
    )
    assert second == ("python run.py task=tabular batch_size=10 budget=full", "training to its end: about 11 h at this speed")
    assert last[0].startswith("thrifty predict ")


def test_after_ten_minutes_a_smaller_model_is_the_shorter_way() -> None:
    record = cut_short("model=small", "budget.seconds=600", "batch_size=10", step_ms=12_000.0)
    assert next_steps(record)[0][0] == "python run.py task=tabular budget.seconds=600 batch_size=10 model=tiny"


def test_a_run_cut_short_is_told_of_no_larger_model() -> None:
    assert not any("model=" in command for command, _ in next_steps(cut_short(step_ms=1.0), most=9))
    assert any("model=tiny" in command for command, _ in next_steps(make_record(), most=9))


@pytest.mark.parametrize(
    ("deciding", "quality", "gap", "dropout", "told"),
    [
        ("accuracy", 0.9, 0.1, "0", True),  # better on training data by 10 points
        ("accuracy", 0.9, -0.1, "0", False),  # worse there: nothing to hold against it
        ("accuracy", 0.9, 0.01, "0", False),
        ("accuracy", 0.9, 0.1, "0.3", False),  # dropped already
        ("bits_per_byte", 3.5, -0.5, "0", True),
        ("bits_per_byte", 3.5, 0.5, "0", False),
    ],
)
def test_dropout_is_for_models_that_know_their_training_data_better(
    deciding: str, quality: float, gap: float, dropout: str, told: bool
) -> None:
    metrics = {f"quality/{deciding}": measured(quality), "quality/gap": measured(gap)}
    record = make_record(f"regularizer.dropout={dropout}", metrics=metrics, data={"deciding": deciding})
    assert any("dropout" in why for _, why in next_steps(record, most=9)) == told


def test_bf16_is_suggested_where_the_processor_is_fast_at_it() -> None:
    record = make_record()
    assert not any("bf16" in command for command, _ in next_steps(record, most=9))
    record["environment"]["cpu"]["isa"] = ["avx2", "amx_bf16"]
    assert any("bf16" in command for command, _ in next_steps(record, most=9))


@pytest.mark.parametrize(
    ("overrides", "change"),
    [
        (["batch_size=32"], "batch_size=16"),
        (["batch_size=full"], "batch_size=256"),
        (["batch_size=1", "model=small"], "model=tiny"),
    ],
)
def test_out_of_memory_is_met_by_less_of_it(overrides: list[str], change: str) -> None:
    ((command, _),) = next_steps(make_record(*overrides, status="oom", reason="out of memory"))
    assert command.endswith(f" {change}")


def test_a_loss_that_ran_away_is_met_by_a_lower_learning_rate() -> None:
    ((command, _),) = next_steps(make_record("optimizer.lr=0.3", status="diverged", reason="nan"))
    assert command == "python run.py task=tabular optimizer.lr=0.1"


@pytest.mark.parametrize("status", ["killed", "preempted"])
def test_a_stopped_run_with_weights_can_be_gone_on_with(status: str) -> None:
    record = make_record(status=status, reason="stopped")
    goes_on, anew = (command for command, _ in next_steps(record))
    assert goes_on == f"python run.py resume={record['id']}"
    assert anew == f"python run.py task=tabular checkpoint={record['id']}"
    assert [command for command, _ in next_steps(record | {"metrics": {}})] == [goes_on]


def test_a_hopeless_trial_can_be_trained_to_its_end() -> None:
    record = make_record(status="killed", reason="stopped by sweep.stopper=median at step 20 of 200", flags=["hopeless"])
    ((command, why),) = next_steps(record)
    assert command == record["command"]
    assert "after all" in why


@pytest.mark.parametrize("status", ["running", "error", "unsupported"])
def test_where_nothing_helps_nothing_is_said(status: str) -> None:
    assert next_steps(make_record(status=status, reason="reason")) == []


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["budget"], ["model=tiny", "optimizer.lr=1"]),
        (["budget.seconds"], ["budget=quick", "budget.steps=3", "model=tiny", "optimizer.lr=1"]),
        (["opt"], ["budget=quick", "budget.steps=3", "budget.seconds=5", "model=tiny", "optimizer.lr=1"]),
    ],
)
def test_a_key_goes_with_all_that_belongs_to_it(names: list[str], left: list[str]) -> None:
    assert without(["budget=quick", "budget.steps=3", "budget.seconds=5", "model=tiny", "optimizer.lr=1"], *names) == left


@pytest.mark.parametrize("store", ["results", "a store"])
def test_what_is_suggested_can_be_typed(store: str) -> None:
    found = next_steps(make_record(f"store='{store}'", "name='a b'"), most=9)
    for command, _ in found[:-1]:
        compose(shlex.split(command)[2:])
    assert ("--store" in found[-1][0]) == (store != "results")


@pytest.mark.parametrize("task", CHOICES["task"])
def test_the_model_of_every_task_is_shown_in_use(task: str) -> None:
    record = make_record()
    record["config"]["task"]["name"] = task
    command, why = next_steps(record)[-1]
    given = {"text": "def main(", "tabular": "new.csv", "image": "new.png"}[task]
    assert shlex.split(command) == ["thrifty", "predict", record["id"], given]
    assert why == "use the model"


def test_after_a_mask_comes_what_saves_time() -> None:
    first, last = next_steps(make_pruned("pruner=random", "sparsity=0.5"), most=9)
    assert first[0] == "python run.py task=tabular method=prune sparsity=0.5 pruner=structured_l1"
    assert "save no time" in first[1]
    assert last[0].startswith("thrifty predict ")


@pytest.mark.parametrize(
    "overrides",
    [
        ["pruner=magnitude", "pruner.scope=layer", "sparsity=0.5", "pruner.protect=[head,norms]"],
        ["pruner=movement", "method.pace=gradual", "sparsity=0.5"],
        ["method.pace=iterative", "method.rounds=4", "method.rewind=true", "sparsity=0.5"],
        ["pruner=n_m", "pruner.pattern=1:4", "sparsity=0.75"],
    ],
)
def test_what_belongs_to_a_mask_alone_goes_with_it(overrides: list[str]) -> None:
    command, _ = next_steps(make_pruned(*overrides))[0]
    config = compose(shlex.split(command)[2:])
    assert config.pruner is not None
    assert config.pruner.name == "structured_l1"
    if "pruner.protect=[head,norms]" in overrides:
        assert config.pruner.protect == ["head", "norms"]


@pytest.mark.parametrize(
    ("change", "given", "told"),
    [
        (-0.02, [], True),  # known to half a point
        (-0.004, [], False),
        (0.02, [], False),
        (-0.02, ["method.finetune=0.1"], True),
        (-0.02, ["method.finetune=1"], False),
    ],
)
def test_quality_lost_with_units_is_met_by_fine_tuning(change: float, given: list[str], told: bool) -> None:
    found = next_steps(make_pruned("pruner=structured_l1", "sparsity=0.5", *given, change=change), most=9)
    command = "python run.py task=tabular method=prune pruner=structured_l1 sparsity=0.5 method.finetune=1"
    assert [one for one, _ in found[:-1]] == ([command] if told else [])
    assert found[-1][0].startswith("thrifty predict ")


def test_of_an_error_more_is_worse() -> None:
    record = make_pruned("pruner=structured_l1", "sparsity=0.5")
    record |= {"data": record["data"] | {"deciding": "rmse"}}
    for low, high, told in ((0.1, 0.3, True), (-0.3, -0.1, False), (-0.1, 0.3, False)):
        record["waterfall"] = [row("size/parameters", 2, 1, 0.5, None, None), row("quality/rmse", 2.0, 2.2, 0.2, low, high)]
        assert any("finetune" in command for command, _ in next_steps(record)) is told


def test_a_smaller_model_that_was_not_compared_gets_no_advice_on_its_quality() -> None:
    found = next_steps(make_pruned("pruner=structured_l1", "sparsity=0.5", waterfall=[]), most=9)
    assert [command.split()[:2] for command, _ in found] == [["thrifty", "predict"]]
