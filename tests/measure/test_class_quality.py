"""Metrics of classes: by hand, against torchmetrics, under weights, and intervals on simulated answers whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchmetrics.functional import classification as torchmetrics

from thrifty.measure.class_quality import (
    METRICS,
    MOST_RANKED_CLASSES,
    MOST_STEPS,
    ClassQuality,
    class_draws,
    class_intervals,
    enough_resamples,
    untold,
)


def answered(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def sure_of(answers: list[int], classes: int) -> np.ndarray:
    """Probabilities that give these answers."""
    return np.eye(classes, dtype=np.float32)[answers] * 0.4 + np.float32(0.6 / classes)


def simulated(generator: np.random.Generator, n: int, classes: int, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are the true chances, up to `sharpness`, the first classes more frequent; and what came true."""
    logits = generator.normal(0, 1, (n, classes)) * 3 - 0.3 * np.arange(classes)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (chances.cumsum(axis=1) < generator.random((n, 1))).sum(axis=1).clip(0, classes - 1)
    told = np.exp(logits * sharpness / 3)
    return (told / told.sum(axis=1, keepdims=True)).astype(np.float32), truth


# -- by hand ------------------------------------------------------------------------------------------------------------


def test_f1_and_the_worst_class_by_hand() -> None:
    """Confusions of 3 classes: 3 of 4 of the first right, 1 of 2 of the second, all 2 of the third."""
    truth, answers = [0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2, 2, 2]
    found = ClassQuality(sure_of(answers, 3), np.array(truth)).point()
    f1 = [2 * 3 / (4 + 3), 2 * 1 / (2 + 2), 2 * 2 / (2 + 3)]
    assert found["f1_macro"] == pytest.approx(sum(f1) / 3)
    assert found["worst_class_accuracy"] == pytest.approx(0.5)


def test_a_class_without_examples_counts_where_it_was_answered_only() -> None:
    """Of 4 classes the third is answered and never true, the fourth neither: F1 is a mean of three, one of them 0."""
    found = ClassQuality(sure_of([0, 0, 1, 2], 4), np.array([0, 0, 1, 1])).point()
    assert found["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found["worst_class_accuracy"] == pytest.approx(0.5)


def test_auroc_by_hand_with_ties() -> None:
    """Positives 0.8, 0.4 against negatives 0.4, 0.1, 0.1: of 6 pairs 5 are in order and one is a tie."""
    second = np.array([0.8, 0.4, 0.4, 0.1, 0.1], dtype=np.float32)
    found = ClassQuality(np.stack([1 - second, second], axis=1), np.array([1, 1, 0, 0, 0])).point()
    assert found["auroc"] == pytest.approx(5.5 / 6)


def test_auroc_of_three_classes_is_the_mean_of_each_against_the_rest() -> None:
    probability = answered([0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.6, 0.3], [0.6, 0.1, 0.3])
    # 0 and its rest: 0.5, 0.4 against 0.1, 0.6: 2 of 4. 1: 0.6 against all: 3 of 3. 2: 0.3 against 0.2, 0.2, and a tie at 0.3.
    found = ClassQuality(probability, np.array([0, 0, 1, 2])).point()
    assert found["auroc"] == pytest.approx((2 / 4 + 1 + 2.5 / 3) / 3)


def test_auroc_leaves_out_classes_that_have_no_examples() -> None:
    probability = answered([0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.6, 0.3])
    # 0: 0.5, 0.4 against 0.1: all in order. 1: 0.6 against 0.3, 0.4: likewise. 2 has none.
    assert ClassQuality(probability, np.array([0, 0, 1])).point()["auroc"] == pytest.approx(1)


def test_calibration_error_by_hand() -> None:
    """Bins of a fifteenth: 0.90, 0.92 in one (of which one is right), 0.70 in another (right), 1 in one of its own (wrong)."""
    first = np.array([0.90, 0.92, 0.70, 1.0], dtype=np.float32)
    found = ClassQuality(np.stack([first, 1 - first], axis=1), np.array([0, 1, 0, 1])).point()
    assert found["calibration_error"] == pytest.approx((2 * abs(0.91 - 0.5) + abs(0.70 - 1) + abs(1 - 0)) / 4)


def of_one_class() -> tuple[np.ndarray, np.ndarray]:
    return answered([0.5, 0.5], [0.4, 0.6]), np.array([1, 1])


def with_nothing_known() -> tuple[np.ndarray, np.ndarray]:
    return answered([np.nan, np.nan], [0.4, 0.6]), np.array([0, 1])


def of_many_classes() -> tuple[np.ndarray, np.ndarray]:
    classes = MOST_RANKED_CLASSES + 1
    return np.full((4, classes), 1 / classes, dtype=np.float32), np.array([0, 1, 2, 2])


@pytest.mark.parametrize(
    ("case", "missing", "why"),
    [
        (of_one_class, {"auroc"}, "all of one class"),
        (with_nothing_known, set(METRICS), "not a number"),
        (of_many_classes, {"auroc"}, "101 classes"),
    ],
)
def test_what_is_left_out_has_its_reason(
    case: Callable[[], tuple[np.ndarray, np.ndarray]], missing: set[str], why: str
) -> None:
    told, reasons = class_intervals(*case(), resamples=0), untold(*case())
    assert set(reasons) == missing == set(METRICS) - set(told)
    assert all(why in one for one in reasons.values())


# -- against torchmetrics, and under weights -----------------------------------------------------------------------------


# Of more examples torchmetrics' own sums, in single precision, are off by as much as is asked for: 1e-6 of 5000.
@pytest.mark.parametrize(("n", "classes"), [(114, 2), (360, 3), (1000, 10), (1000, 2)])
@pytest.mark.parametrize("ties", [False, True])
def test_values_are_those_of_torchmetrics(n: int, classes: int, ties: bool) -> None:
    probability, truth = simulated(np.random.default_rng(n), n, classes, sharpness=5)
    probability = probability.round(1) if ties else probability
    found = ClassQuality(probability, truth).point()
    given, classed = torch.from_numpy(probability), torch.from_numpy(truth)
    if classes == 2:
        auroc = torchmetrics.binary_auroc(given[:, 1], classed)
    else:
        auroc = torchmetrics.multiclass_auroc(given, classed, classes)
    expected = {
        "f1_macro": torchmetrics.multiclass_f1_score(given, classed, classes, average="macro"),
        "worst_class_accuracy": torchmetrics.multiclass_accuracy(given, classed, classes, average="none").min(),
        "auroc": auroc,
        "calibration_error": torchmetrics.multiclass_calibration_error(given, classed, classes, n_bins=15),
    }
    assert found == pytest.approx({name: float(one) for name, one in expected.items()}, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_weight_counts_as_so_many_copies_of_an_example(classes: int) -> None:
    probability, truth = simulated(np.random.default_rng(0), 80, classes)
    times = np.random.default_rng(1).integers(0, 4, (80, 5))
    found = ClassQuality(probability, truth).prepare()(times.astype(np.float32))
    for column in range(5):
        copied = np.repeat(np.arange(80), times[:, column])
        expected = ClassQuality(probability[copied], truth[copied]).point()
        assert {name: one[column] for name, one in found.items()} == pytest.approx(expected, abs=1e-6)


def test_a_resample_without_a_class_is_what_torchmetrics_would_say_of_it() -> None:
    probability, truth = sure_of([0, 0, 1, 2], 3), np.array([0, 0, 1, 2])
    weights = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)  # without the third class; it alone
    found = ClassQuality(probability, truth).prepare()(weights)
    assert found["f1_macro"].tolist() == [1, 1]
    assert found["worst_class_accuracy"].tolist() == [1, 1]
    assert np.isnan(found["auroc"]).tolist() == [False, True]


@pytest.mark.parametrize("share", [0.5, 0.01])
def test_a_long_ranking_cut_into_steps_has_the_spread_of_the_whole(share: float) -> None:
    generator = np.random.default_rng(2)
    truth = (generator.random(20_000) < share).astype(int)
    second = 1 / (1 + np.exp(-generator.normal(2.0 * truth - 1, 1)))
    probability = np.stack([1 - second, second], axis=1)
    assert len(np.unique(second)) > MOST_STEPS
    quality = ClassQuality(probability, truth)
    (cut,) = class_draws([quality], 200)
    by_hand = []
    for seed in range(200):
        drawn = np.random.default_rng(seed).integers(0, len(truth), len(truth))
        by_hand.append(ClassQuality(probability[drawn], truth[drawn]).point()["auroc"])
    # 200 draws know a standard deviation to 5 %: three times that, and the square root of two for their being two.
    assert cut["auroc"].std() == pytest.approx(np.std(by_hand), rel=0.22)
    assert cut["auroc"].mean() == pytest.approx(quality.point()["auroc"], abs=5 * np.std(by_hand) / np.sqrt(200))


# -- intervals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "n", "sharpness", "least"),
    [(2, 114, 3.0, 0.88), (3, 300, 6.0, 0.85), (8, 300, 3.0, 0.88)],
    ids=["calibrated", "overconfident", "many"],
)
def test_intervals_hold_the_truth(classes: int, n: int, sharpness: float, least: float) -> None:
    """95 of 100 is what they aim at; at a few hundred examples a bootstrap of a ranking or of a least share falls short."""
    generator = np.random.default_rng(classes)
    truth = ClassQuality(*simulated(generator, 200_000, classes, sharpness)).point()
    tries, held = 200, dict.fromkeys(truth, 0)
    for seed in range(tries):
        for name, one in class_intervals(*simulated(generator, n, classes, sharpness), resamples=200, seed=seed).items():
            assert one.low is not None
            assert one.high is not None
            assert one.low <= one.value <= one.high
            held[name] += one.low - 2e-3 <= truth[name] <= one.high + 2e-3  # as well as 200,000 examples know the truth
    assert held["f1_macro"] >= 0.91 * tries
    assert min(held.values()) >= least * tries, held


def test_the_error_of_a_calibrated_model_is_not_told_from_0_and_that_of_another_is() -> None:
    generator, tries = np.random.default_rng(0), 100
    lows = {
        sharpness: [
            class_intervals(*simulated(generator, 400, 3, sharpness), resamples=200)["calibration_error"].low
            for _ in range(tries)
        ]
        for sharpness in (3.0, 9.0)
    }
    assert sum(one == 0 for one in lows[3.0]) >= 88  # 95 expected, three standard errors below
    assert all(one is not None and one > 0.01 for one in lows[9.0])


def test_intervals_are_the_same_each_time_and_can_be_left_out() -> None:
    given = simulated(np.random.default_rng(0), 114, 2)
    found = class_intervals(*given)
    assert found == class_intervals(*given)
    without = class_intervals(*given, resamples=0)
    assert {name: (one.value, one.low, one.high, one.n) for name, one in without.items()} == {
        name: (one.value, None, None, 114) for name, one in found.items()
    }


def test_where_resamples_cannot_differ_there_is_no_interval() -> None:
    found = class_intervals(sure_of([0, 1, 0, 1], 2), np.array([0, 1, 0, 1]))
    for name in ("f1_macro", "worst_class_accuracy", "auroc"):
        assert (found[name].value, found[name].low, found[name].high) == (1, None, None)


def test_one_example_and_one_class_have_no_auroc() -> None:
    found = class_intervals(sure_of([1], 2), np.array([1]))
    assert set(found) == {"f1_macro", "worst_class_accuracy", "calibration_error"}
    assert all((one.low, one.n) == (None, 1) for one in found.values())
    assert "auroc" not in class_intervals(sure_of([0, 1, 0], 2), np.array([0, 0, 0]))


def test_very_many_classes_are_not_ranked() -> None:
    classes = MOST_RANKED_CLASSES + 1
    truth = np.arange(2 * classes) % classes
    assert "auroc" not in class_intervals(sure_of(truth.tolist(), classes), truth)
    assert class_intervals(sure_of(truth.tolist(), classes), truth)["f1_macro"].value == 1


def test_what_is_no_probability_tells_nothing() -> None:
    assert class_intervals(np.full((5, 2), np.nan, dtype=np.float32), np.array([0, 1, 0, 1, 0])) == {}


def test_many_examples_get_fewer_resamples_and_take_no_longer() -> None:
    assert [enough_resamples(*of) for of in ((114, 2), (100_000, 2), (100_000, 10), (10_000, 1000))] == [1000, 208, 200, 227]
    given = simulated(np.random.default_rng(0), 100_000, 10)
    begin = time.perf_counter()
    class_intervals(*given)
    assert time.perf_counter() - begin < 5  # 0.3 to 0.4 s alone on two cores; others may be using them
