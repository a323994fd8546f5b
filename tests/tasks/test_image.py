"""The image task: its splits, its normalisation, its batches, loss and metrics by hand."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_image_files import all_raw, everything, pixels, prepare, raw, truth, write_npz

from chosen import chosen
from thrifty.config.choices.tasks import ClassWeights
from thrifty.errors import BadConfiguration
from thrifty.tasks.base import SPLITS


def test_the_built_in_digits() -> None:
    data = prepare()
    assert data.shape == {"channels": 1, "height": 8, "width": 8, "outputs": 10}
    assert data.sizes == {"train": 1079, "validation": 359, "test": 359}
    assert (data.deciding, data.has_classes, data.labels) == ("accuracy", True, [str(one) for one in range(10)])
    assert data.about[0] == "the built-in digits: 1797 images of 8x8 pixels, 1 channel"
    assert (data.fingerprint, len(data.fingerprint)) == (prepare().fingerprint, 64)
    inputs, targets = everything(data, "train")
    assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)
    assert inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert inputs.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert len(np.unique(raw(data, "test").round())) == 17  # 0 to 16, as they were
    assert raw(data, "test").max() == pytest.approx(255)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 1, 4)])
@pytest.mark.parametrize("augment", ["none", ["shift", "flip", "crop", "randaugment"]])
def test_the_dimensions_of_the_draws_lead(shape: tuple[int, ...], augment: Any) -> None:
    data = prepare(augment=augment)
    for split, first in itertools.product(SPLITS, (5, 5000)):
        inputs, targets = data.batch(split, torch.full(shape, first))
        assert (inputs.shape, targets.shape) == ((*shape, 1, 8, 8), shape)
        assert (inputs.dtype, targets.dtype) == (torch.float32, torch.int64)


def test_batches_wrap_around() -> None:
    data = prepare()
    n = data.sizes["train"]
    inputs, targets = data.batch("train", torch.tensor([[0, 1, 2], [n, n + 1, 5 * n + 2]]))
    assert torch.equal(inputs[0], inputs[1])
    assert torch.equal(targets[0], targets[1])


def test_splits_are_disjoint_stratified_and_fixed_by_split_seed(tmp_path: Path) -> None:
    images = np.arange(100, dtype=np.uint8).repeat(4).reshape(100, 2, 2)  # image n is of colour n
    path = write_npz(tmp_path / "data.npz", x=images, y=(np.arange(100) % 4 == 0).astype(int))

    def members(seed: int) -> dict[str, list[int]]:
        data = prepare(path, split_seed=seed)
        assert {split: int(everything(data, split)[1].sum()) for split in SPLITS} == {"train": 15, "validation": 5, "test": 5}
        numbers = {split: raw(data, split)[:, 0, 0, 0].round().astype(int) for split in SPLITS}
        for split, each in numbers.items():
            assert torch.equal(everything(data, split)[1], torch.from_numpy((each % 4 == 0).astype(np.int64)))
        return {split: each.tolist() for split, each in numbers.items()}

    first = members(0)
    assert sorted(itertools.chain(*first.values())) == list(range(100))
    assert members(0) == first
    assert members(1)["test"] != first["test"]


def test_normalisation_is_that_of_the_training_images_channel_by_channel(tmp_path: Path) -> None:
    images = pixels(40, 4, 6, 3)
    images[..., 2] //= 2
    before = prepare(write_npz(tmp_path / "a.npz", x=images, y=truth(40)))
    trained = {tuple(one) for one in raw(before, "train").round().astype(np.uint8).reshape(24, -1)}
    flat = images.transpose(0, 3, 1, 2).reshape(40, -1)
    training = np.array([tuple(one) in trained for one in flat])
    assert training.sum() == 24
    assert before.normalisation.mean == pytest.approx(images[training].mean((0, 1, 2)).tolist())
    assert before.normalisation.scale == pytest.approx(images[training].std((0, 1, 2)).tolist())
    images[~training] //= 3
    after = prepare(write_npz(tmp_path / "a.npz", x=images, y=truth(40)))
    assert after.state() == before.state()
    assert after.fingerprint != before.fingerprint


def test_a_channel_that_never_changes_is_left_where_it_is(tmp_path: Path) -> None:
    images = pixels(20, 6, 5, 4)
    images[..., 3] = 255  # opaque
    data = prepare(write_npz(tmp_path / "a.npz", x=images, y=truth()))
    assert (data.normalisation.mean[3], data.normalisation.scale[3]) == (255, 1)
    assert (everything(data, "test")[0][:, 3] == 0).all()


def test_fractions_stay_fractions(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(0, 3, (20, 5, 4))
    data = prepare(write_npz(tmp_path / "a.npz", x=images, y=truth()))
    found = np.sort(np.concatenate([raw(data, split).ravel() for split in SPLITS]))
    assert found == pytest.approx(np.sort(images.ravel()), abs=1e-5)
    assert data.state()["pixels"] == "float32"
    assert "pixels, fractions, minus" in data.about[-1]


@pytest.mark.parametrize("kind", [np.int64, np.float64, np.uint16, np.float16])
def test_whole_numbers_are_held_as_bytes_whatever_their_type(tmp_path: Path, kind: Any) -> None:
    data = prepare(write_npz(tmp_path / "a.npz", x=pixels().astype(kind), y=truth()))
    assert data.state()["pixels"] == "uint8"
    assert (all_raw(data) == all_raw(prepare(write_npz(tmp_path / "b.npz")))).all()


def test_truth_values_are_black_and_white(tmp_path: Path) -> None:
    data = prepare(write_npz(tmp_path / "a.npz", x=pixels() > 127, y=truth()))
    assert set(np.unique(all_raw(data))) == {0, 255}


def test_resizing_takes_the_mean_of_the_pixels_covered(tmp_path: Path) -> None:
    blocks = pixels(20, 2, 2)
    large = blocks.repeat(4, axis=1).repeat(4, axis=2)
    data = prepare(write_npz(tmp_path / "a.npz", x=large, y=truth()), resize=2)
    small = np.sort(np.concatenate([raw(data, split)[:, 0] for split in SPLITS]).ravel())
    # The filter is a triangle of two new pixels: it sees a little of the neighbours, alike on both sides.
    assert np.corrcoef(small, np.sort(blocks.ravel()))[0, 1] > 0.99
    assert data.about[0].endswith("2x2 pixels, 1 channel, scaled to 2x2 whatever their shape")
    flat = prepare(write_npz(tmp_path / "b.npz", x=pixels(20, 1, 1).repeat(9, 1).repeat(5, 2), y=truth()), resize=3)
    once = np.unique(all_raw(flat), axis=1)
    assert once.shape == (20, 1)  # one colour stays one colour, to the last level
    assert sorted(once[:, 0]) == sorted(pixels(20, 1, 1).ravel())


def test_state_is_plain(tmp_path: Path) -> None:
    data = prepare(write_npz(tmp_path / "a.npz", x=pixels(20, 6, 5, 3), y=truth()), resize=4)
    state = data.state()
    assert json.loads(json.dumps(state)) == state
    assert (state["channels"], state["height"], state["width"], state["resize"]) == (3, 4, 4, 4)


def test_large_images_are_looked_at_fewer_at_once(tmp_path: Path) -> None:
    assert prepare().most_at_once == 1024
    images = pixels(10, 1, 1, 3).repeat(2, 1)
    large = prepare(write_npz(tmp_path / "a.npz", x=images, y=truth(10)), resize=512)
    assert large.most_at_once == 2**22 // (3 * 512 * 512) == 5


def test_loss_and_metrics_by_hand() -> None:
    data = prepare()
    outputs = torch.zeros(2, 10)
    outputs[1, 3] = math.log(11)  # of 20 parts 11
    targets = torch.tensor([7, 3])
    expected = [math.log(10), math.log(20 / 11)]
    assert data.loss(outputs, targets).item() == pytest.approx(sum(expected) / 2)
    assert data.loss(outputs.expand(3, 2, 10), targets.expand(3, 2)).item() == pytest.approx(sum(expected) / 2)
    half = torch.zeros(1, 10)
    half[0, [3, 4]] = 0.5
    assert data.loss(outputs[1:], half).item() == pytest.approx((math.log(20 / 11) + math.log(20)) / 2)
    scores = data.scores(outputs, targets)
    assert scores["loss"].tolist() == pytest.approx(expected)
    assert scores["correct"].tolist() == [0, 1]
    assert scores["probability"][1, 3].item() == pytest.approx(11 / 20)
    metrics = data.summarise({name: np.tile(one.numpy(), (10, 1) if one.ndim > 1 else 10) for name, one in scores.items()})
    assert (metrics["accuracy"].value, metrics["accuracy"].n) == (0.5, 20)
    assert metrics["loss"].value == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, "none"), ("none", "none"), ("flip", "flip"), (["flip"], "flip"), ([], "none"),
        (["mixup", "shift", "flip"], ["shift", "flip", "mixup"]),
    ],
)  # fmt: skip
def test_ways_to_augment_that_mean_the_same_are_written_the_same(given: Any, kept: Any) -> None:
    config = chosen("task=image", augment=given)
    config.check("task.")
    assert config.augment == kept


@pytest.mark.parametrize("given", ["flp", ["shift", "flp"], ["none", "flip"], 3, [["flip"]], {"flip": 1}])
def test_unknown_ways_to_augment_are_refused(given: Any) -> None:
    with pytest.raises(
        BadConfiguration, match=r"task.augment=.*must be none, shift, flip, crop, randaugment, mixup, or a list"
    ):
        chosen("task=image", augment=given).check("task.")


def test_rare_classes_weigh_more_when_they_are_to(tmp_path: Path) -> None:
    labels = (np.arange(40) % 4 == 0).astype(int)  # a quarter of the images
    path = write_npz(tmp_path / "data.npz", x=pixels(40), y=labels)
    data = prepare(path, class_weights=ClassWeights.balanced)
    assert data.class_weights is not None
    assert data.class_weights.tolist() == pytest.approx([2 / 3, 2], rel=0.1)
    assert data.about[-1].startswith("the training loss weighs classes")
    outputs = torch.zeros(2, 2)
    outputs[0, 0] = math.log(3)  # of 4 parts 3
    light, heavy = data.class_weights.tolist()
    expected = (light * math.log(4 / 3) + heavy * math.log(2)) / (light + heavy)
    assert data.loss(outputs, torch.tensor([0, 1])).item() == pytest.approx(expected)
    assert prepare(path).class_weights is None
