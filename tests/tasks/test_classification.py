"""What tasks with classes share: loss, scores and summary by hand, class weights, and what a record holds of them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from example_table import prepare, table, write

from conftest import FinishedRun
from thrifty.config.choices.tasks import ClassWeights
from thrifty.errors import BadConfiguration
from thrifty.measure.statistics import mean_interval, share_interval
from thrifty.tasks.class_weights import balanced_weights, describe_weights
from thrifty.tasks.classification import class_loss, class_scores, class_summary

THE_FOUR = ("f1_macro", "worst_class_accuracy", "auroc", "calibration_error")
LOGITS = torch.tensor([[0.0, 0.0, 0.0], [0.0, math.log(2), 0.0]])  # probabilities 1/3 each; 1/4, 1/2, 1/4
TARGETS = torch.tensor([2, 1])


# -- loss and scores ----------------------------------------------------------------------------------------------------


def test_loss_by_hand() -> None:
    assert class_loss(LOGITS, TARGETS).item() == pytest.approx((math.log(3) + math.log(2)) / 2)
    smooth = 0.5 * (math.log(3) + 0.8 * math.log(2) + 0.2 * math.log(4))  # 0.3 spread over 4, 2, 4 parts
    assert class_loss(LOGITS, TARGETS, 0.3).item() == pytest.approx(smooth)
    many = class_loss(LOGITS.expand(4, 5, 2, 3), TARGETS.expand(4, 5, 2))
    assert many.item() == pytest.approx((math.log(3) + math.log(2)) / 2)


def test_loss_of_probabilities_by_hand() -> None:
    targets = torch.tensor([[0.5, 0.0, 0.5], [0.25, 0.75, 0.0]])
    by_hand = (math.log(3) + 0.25 * math.log(4) + 0.75 * math.log(2)) / 2
    assert class_loss(LOGITS, targets).item() == pytest.approx(by_hand)
    assert class_loss(LOGITS.expand(4, 2, 3), targets.double().expand(4, 2, 3)).item() == pytest.approx(by_hand)
    sure = F.one_hot(TARGETS, 3).float()
    assert class_loss(LOGITS, sure, 0.3).item() == pytest.approx(class_loss(LOGITS, TARGETS, 0.3).item())


def test_a_weighted_loss_is_the_mean_over_weights() -> None:
    weights = torch.tensor([1.0, 2.0, 6.0])
    assert class_loss(LOGITS, TARGETS, weights=weights).item() == pytest.approx((6 * math.log(3) + 2 * math.log(2)) / 8)


def test_scores_by_hand() -> None:
    scores = class_scores(LOGITS, TARGETS)
    assert scores["loss"].tolist() == pytest.approx([math.log(3), math.log(2)])
    assert scores["correct"].tolist() == [0, 1]
    assert scores["truth"].tolist() == [2, 1]
    assert scores["probability"].tolist() == [pytest.approx([1 / 3] * 3), pytest.approx([1 / 4, 1 / 2, 1 / 4])]


def test_half_precision_logits_are_scored_in_single() -> None:
    scores = class_scores(LOGITS.bfloat16(), TARGETS)
    assert {one.dtype for name, one in scores.items() if name != "truth"} == {torch.float32}
    assert class_loss(LOGITS.bfloat16(), TARGETS).dtype == torch.float32


def test_summary_has_the_contract_s_metrics() -> None:
    random = torch.Generator().manual_seed(0)
    truth = torch.arange(90) % 3
    logits = 2 * F.one_hot(truth, 3) + torch.randn(90, 3, generator=random)
    scores = {name: one.float().numpy() for name, one in class_scores(logits, truth).items()}
    found = class_summary(scores)
    assert list(found) == ["accuracy", "loss", "f1_macro", "worst_class_accuracy", "calibration_error", "auroc"]
    right = int(scores["correct"].sum())
    assert found["accuracy"] == share_interval(right, 90)
    assert found["loss"] == mean_interval(scores["loss"])
    assert all(one.n == 90 and one.low is not None for one in found.values())
    glance = class_summary(scores, resamples=0)
    assert (glance["accuracy"], glance["loss"]) == (found["accuracy"], found["loss"])
    assert {name: glance[name].value for name in THE_FOUR} == {name: found[name].value for name in THE_FOUR}
    assert all(glance[name].low is glance[name].high is None for name in THE_FOUR)


def test_outputs_that_are_no_numbers_leave_a_loss_to_stop_at() -> None:
    """Training ends by the validation loss; to get there nothing before it may fail."""
    scores = class_scores(torch.full((3, 2), math.nan), torch.tensor([0, 1, 0]))
    found = class_summary({name: one.float().numpy() for name, one in scores.items()})
    assert set(found) == {"accuracy", "loss"}
    assert math.isnan(found["loss"].value)


# -- class weights ------------------------------------------------------------------------------------------------------


def test_balanced_weights_by_hand() -> None:
    truth = np.array([0] * 6 + [1] * 3 + [2])
    assert balanced_weights(truth, 3).tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert balanced_weights(truth, 4).tolist() == pytest.approx([10 / 24, 10 / 12, 10 / 4, 1])
    said = describe_weights(balanced_weights(truth, 3), ["common", "some", "rare"])
    assert "from 0.556 ('common') to 3.33 ('rare')" in said
    assert "metrics do not" in said


def test_weights_of_two_classes_weigh_the_one_output(tmp_path: Path) -> None:
    """15 of 60 rows say yes; so do 9 of the 36 rows of the training split: weights 36 / (2 * 27) and 36 / (2 * 9)."""
    path = write(tmp_path, table())
    data, plain = (prepare(path, "bought", class_weights=one) for one in (ClassWeights.balanced, ClassWeights.none))
    assert data.class_weights is not None
    assert data.class_weights.tolist() == pytest.approx([2 / 3, 2])
    assert "from 0.667 ('no') to 2 ('yes')" in data.about[-1]
    assert not any("weighs" in line for line in plain.about)
    outputs, targets = torch.tensor([[0.0], [math.log(3)]]), torch.tensor([1.0, 0.0])  # probabilities of yes 1/2 and 3/4
    by_hand = (2 * math.log(2) + 2 / 3 * math.log(4)) / (2 + 2 / 3)
    assert data.loss(outputs, targets).item() == pytest.approx(by_hand)
    assert data.loss(outputs.expand(3, 2, 1), targets.expand(3, 2)).item() == pytest.approx(by_hand)
    assert plain.loss(outputs, targets).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    for name, one in data.scores(outputs, targets).items():
        assert torch.equal(one, plain.scores(outputs, targets)[name])


def test_equal_weights_are_none(tmp_path: Path) -> None:
    """The two ways to the loss of two classes are one, smoothed or not."""
    data = prepare(write(tmp_path, table()), "bought")
    outputs, targets = torch.randn(7, 1), torch.tensor([1.0, 0, 0, 1, 0, 1, 1])
    for smoothing in (0.0, 0.2):
        before = data.loss(outputs, targets, smoothing).item()
        data.class_weights = torch.ones(2)
        assert data.loss(outputs, targets, smoothing).item() == pytest.approx(before, rel=1e-5)
        data.class_weights = None


def test_weights_of_several_classes(tmp_path: Path) -> None:
    frame = table(80)
    frame["colour"] = np.array(["red", "green", "blue", "red"])[np.arange(80) % 4]
    data = prepare(write(tmp_path, frame), "colour", class_weights=ClassWeights.balanced)
    assert data.labels == ["blue", "green", "red"]
    assert data.class_weights is not None
    assert data.class_weights.tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
    weighted = (2 / 3 * math.log(3) + 4 / 3 * math.log(2)) / 2
    assert data.loss(LOGITS, TARGETS).item() == pytest.approx(weighted)


def test_a_number_has_no_classes_to_weigh(tmp_path: Path) -> None:
    expected = "task.class_weights=balanced: weighs classes, and the target 'price' is a number; leave it out"
    with pytest.raises(BadConfiguration) as caught:
        prepare(write(tmp_path, table()), "price", class_weights=ClassWeights.balanced)
    assert str(caught.value) == expected


# -- what a record holds ------------------------------------------------------------------------------------------------


def test_a_record_s_metrics_are_derived_again_from_its_scores(tabular_run: FinishedRun) -> None:
    metrics = tabular_run.record["metrics"]
    kept = json.loads((tabular_run.path / "samples.json").read_text())["quality/test"]
    assert set(kept) == {"loss", "correct", "truth", "probability"}
    scores = {name: np.array(one, dtype=np.float32) for name, one in kept.items()}
    assert scores["probability"].shape == (142, 2)
    for name, one in class_summary(scores).items():
        found = metrics[f"quality/{name}"]
        assert (found["value"], found["n"]) == (pytest.approx(one.value), 142)
        assert found["low"] == (None if one.low is None else pytest.approx(one.low))
        assert found["high"] == (None if one.high is None else pytest.approx(one.high))


def test_validation_has_every_metric_in_the_record_and_over_the_steps(tabular_run: FinishedRun) -> None:
    metrics = tabular_run.record["metrics"]
    rows = list(csv.DictReader((tabular_run.path / "history.csv").read_text().splitlines()))
    for name in ("accuracy", "loss", *THE_FOUR):
        found = metrics[f"validation/{name}"]
        assert found["value"] == pytest.approx(float(rows[-1][f"validation/{name}"]))
        assert sum(bool(row[f"validation/{name}"]) for row in rows) == 10
        assert found["low"] is not None or found["value"] in (0, 1)
