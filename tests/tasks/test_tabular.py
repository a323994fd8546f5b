"""The tabular task: what it learns from, how it splits, its losses and metrics by hand."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_table import ROWS, everything, prepare, table, write

from thrifty.config.choices.tasks import Kind
from thrifty.errors import BadData


def test_built_in_table() -> None:
    data = prepare()
    assert data.shape == {"inputs": 30, "outputs": 1}
    assert data.sizes == {"train": 342, "validation": 85, "test": 142}
    assert (data.deciding, data.labels) == ("accuracy", ["benign", "malignant"])
    assert data.about[:2] == [
        "the built-in breast cancer table: 569 rows, 30 columns to learn from",
        "target 'diagnosis': 2 classes (benign 63%, malignant 37%)",
    ]
    inputs, _ = everything(data, "train")
    assert inputs.mean(0).abs().max() < 1e-5
    assert torch.allclose(inputs.std(0, correction=0), torch.ones(30), atol=1e-4)
    assert prepare(target="mean area").deciding == "r2"
    assert prepare().fingerprint == data.fingerprint
    assert len(data.fingerprint) == 64


def test_statistics_are_those_of_the_training_rows(tmp_path: Path) -> None:
    frame = table()
    frame["number"] = np.arange(ROWS)
    keys: dict[str, Any] = {"target": "bought", "log1p": "none"}
    before = prepare(write(tmp_path, frame), **keys)
    column = next(one for one in before.preprocessing.numeric if one.name == "number")
    numbers = {split: everything(before, split)[0][:, 3].double() * column.scale + column.mean for split in before.sizes}
    held = numbers["test"].round().long().tolist() + numbers["validation"].round().long().tolist()
    frame.loc[held, ["amount", "signed"]] *= 1000
    after = prepare(write(tmp_path, frame), **keys)
    assert after.state() == before.state()
    assert after.fingerprint != before.fingerprint
    training = frame.drop(index=held)
    assert after.preprocessing.numeric[0].mean == pytest.approx(training["amount"].mean())
    assert after.preprocessing.numeric[0].scale == pytest.approx(training["amount"].std(ddof=0))


def test_splits_are_disjoint_stratified_and_fixed_by_split_seed(tmp_path: Path) -> None:
    frame = table(100)
    frame["number"] = np.arange(100)
    path = write(tmp_path, frame)

    def members(seed: int) -> dict[str, list[int]]:
        data = prepare(path, "bought", split_seed=seed)
        column = next(one for one in data.preprocessing.numeric if one.name == "number")
        place = data.preprocessing.columns.index("number")
        values = {split: everything(data, split)[0][:, place].double() * column.scale + column.mean for split in data.sizes}
        assert {split: int(everything(data, split)[1].sum()) for split in data.sizes} == {
            "train": 15,
            "validation": 4,
            "test": 6,
        }
        return {split: (one.expm1() if column.log1p else one).round().long().tolist() for split, one in values.items()}

    first = members(0)
    assert sorted(itertools.chain(*first.values())) == list(range(100))
    assert members(0) == first
    assert members(1)["test"] != first["test"]


@pytest.mark.parametrize(
    ("values", "kind", "found", "labels"),
    [
        (["b", "a"], Kind.auto, "binary", ["a", "b"]),
        ([True, False], Kind.auto, "binary", ["false", "true"]),
        ([10, 2, 1], Kind.auto, "multiclass", ["1", "2", "10"]),
        ([1.0, 0.0], Kind.auto, "binary", ["0", "1"]),
        ([0.5, 1.5], Kind.auto, "regression", []),
        (list(range(21)), Kind.auto, "regression", []),
        ([1, 2, 3], Kind.regression, "regression", []),
        ([0.5, 1.5], Kind.binary, "binary", ["0.5", "1.5"]),
        (["x", "y"], Kind.multiclass, "multiclass", ["x", "y"]),
    ],
)
def test_kind_of_target(tmp_path: Path, values: list[Any], kind: Kind, found: str, labels: list[str]) -> None:
    frame = table(84).assign(goal=(values * 84)[:84])
    data = prepare(write(tmp_path, frame), "goal", kind=kind)
    assert (data.kind, data.labels) == (found, labels)
    assert data.shape["outputs"] == (len(labels) if found == "multiclass" else 1)
    json.dumps(data.state())


def test_columns_are_chosen_and_said(tmp_path: Path) -> None:
    frame = table(100)
    frame.insert(0, "", np.arange(100))
    frame["name"] = [f"person {number}" for number in range(100)]
    frame["code"] = frame["colour"].map({"red": "1", "green": "2", "blue": "x"})
    frame.loc[[3, 5], "amount"] = np.nan
    frame.loc[7, "colour"] = "?"
    data = prepare(write(tmp_path, frame), "bought", ignore=["price"])
    assert data.preprocessing.columns == ["amount", "signed", "colour", "code"]
    assert [one.log1p for one in data.preprocessing.numeric] == [True, False]
    assert sum(data.sizes.values()) == 97
    said = "; ".join(data.about)
    assert "dropped 3 of 100 rows" in said
    assert "numbers the rows" in said
    assert "different text in most rows: name" in said
    assert "log1p on 1 of 2" in said
    assert "'no' is right" in said


def test_a_text_that_differs_in_every_row_of_a_small_table_names_rows(tmp_path: Path) -> None:
    frame = table(30)
    frame.insert(0, "", [f"car {number}" for number in range(30)])
    data = prepare(write(tmp_path, frame), "bought")
    assert "column 1" not in data.preprocessing.columns
    assert "different text in most rows: column 1" in "; ".join(data.about)


def test_dropping_many_rows_names_the_column_that_costs_most(tmp_path: Path) -> None:
    frame = table(100)
    frame["comment"] = [None] * 60 + ["late", "early"] * 20
    frame.loc[90:, "amount"] = np.nan
    said = "; ".join(prepare(write(tmp_path, frame), "bought").about)
    hint = "most of them in column 'comment' (60 of 100); leave it out with 'task.ignore=[comment]'"
    assert f"dropped 70 of 100 rows with missing values, {hint}" in said


def test_numeric_reads_texts_as_numbers(tmp_path: Path) -> None:
    frame = table().assign(flag=["TRUE", "FALSE"] * (ROWS // 2))
    assert [one.name for one in prepare(write(tmp_path, frame), "bought", numeric=["flag"]).preprocessing.numeric][-1] == "flag"
    with pytest.raises(BadData, match=r"column 'colour', row 2 of the file: 'red' is not a number"):
        prepare(write(tmp_path, frame), "bought", numeric=["colour"])


# -- batches, losses, metrics -----------------------------------------------------------------------------------------


def test_batches_wrap_around_and_keep_the_shape_of_the_draws() -> None:
    data = prepare()
    n = data.sizes["train"]
    inputs, targets = data.batch("train", torch.tensor([[0, 1, 2], [n, n + 1, 5 * n + 2]]))
    assert (inputs.shape, targets.shape) == ((2, 3, 30), (2, 3))
    assert torch.equal(inputs[0], inputs[1])
    assert torch.equal(targets[0], targets[1])
    assert data.batch("test", torch.arange(0))[0].shape == (0, 30)


def test_binary_loss_by_hand() -> None:
    data = prepare()
    outputs, targets = torch.tensor([[0.0], [math.log(3)]]), torch.tensor([1.0, 0.0])  # probabilities 1/2 and 3/4
    expected = [math.log(2), math.log(4)]
    assert data.loss(outputs, targets).item() == pytest.approx(sum(expected) / 2)
    smooth = 0.5 * (math.log(2) + 0.1 * -math.log(0.75) + 0.9 * math.log(4))  # targets 0.9 and 0.1 of e = 0.2
    assert data.loss(outputs, targets, 0.2).item() == pytest.approx(smooth)
    scores = data.scores(outputs, targets)
    assert scores["loss"].tolist() == pytest.approx(expected)
    assert scores["correct"].tolist() == [0, 0]
    assert data.loss(outputs.expand(3, 2, 1), targets.expand(3, 2)).item() == pytest.approx(sum(expected) / 2)


def test_multiclass_loss_by_hand(tmp_path: Path) -> None:
    data = prepare(write(tmp_path, table()), "colour")
    outputs, targets = torch.tensor([[0.0, 0.0, 0.0], [0.0, math.log(2), 0.0]]), torch.tensor([2, 1])
    expected = [math.log(3), math.log(2)]
    assert data.loss(outputs, targets).item() == pytest.approx(sum(expected) / 2)
    smooth = 0.5 * (math.log(3) + 0.8 * math.log(2) + 0.2 * math.log(4))  # 0.3 spread over 4, 2, 4 parts
    assert data.loss(outputs, targets, 0.3).item() == pytest.approx(smooth)
    assert data.scores(outputs, targets)["correct"].tolist() == [0, 1]
    metrics = data.summarise({name: one.numpy() for name, one in data.scores(outputs, targets).items()})
    assert set(metrics) == {"accuracy", "loss", "f1_macro", "worst_class_accuracy", "auroc", "calibration_error"}
    assert (metrics["accuracy"].value, metrics["accuracy"].n) == (0.5, 2)


def test_regression_loss_and_metrics_by_hand(tmp_path: Path) -> None:
    data = prepare(write(tmp_path, table()), "price")
    _, targets = everything(data, "train")
    assert targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    outputs, targets = torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, 2.0])
    assert data.loss(outputs, targets, label_smoothing=0.3).item() == pytest.approx(1.25)
    scores = data.scores(outputs, targets)
    assert scores["loss"].tolist() == [0.5, 2]
    assert scores["error"].tolist() == pytest.approx([data.scale, -2 * data.scale])
    assert scores["truth"].tolist() == pytest.approx([data.mean, data.mean + 2 * data.scale])
    metrics = data.summarise({"loss": np.ones(4), "error": np.array([1.0, -1, 1, -1]), "truth": np.array([0.0, 4, 0, 4])})
    assert {name: metrics[name].value for name in metrics} == {"r2": 0.75, "rmse": 1, "mae": 1, "loss": 1}
    assert data.deciding in metrics


@pytest.mark.parametrize(("target", "names"), [("colour", ["loss"]), ("bought", ["loss"]), ("price", ["loss", "mae", "rmse"])])
def test_intervals_of_losses_do_not_reach_below_zero(tmp_path: Path, target: str, names: list[str]) -> None:
    data = prepare(write(tmp_path, table()), target)
    few_wrong = np.array([0.0, 0.0, 0.0, 5.0])  # Student's interval alone: 1.25 -+ 3.98
    scores = {"loss": few_wrong, "error": few_wrong, "correct": few_wrong == 0, "truth": np.arange(4.0) % 2}
    metrics = data.summarise({**scores, "probability": np.full((4, 2), 0.5, dtype=np.float32)})
    for name in names:
        low, high = metrics[name].low, metrics[name].high
        assert low == 0
        assert high is not None
        assert high > metrics[name].value
