"""Images: read, split, normalised; what cannot be read is refused in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chosen import chosen
from thrifty.config.compose import compose
from thrifty.errors import BadData
from thrifty.tasks.image import ImageData, ImageTask
from thrifty.tasks.image_reading import read_images


def prepare(path: Path | None = None, **changes: Any) -> ImageData:
    config = chosen("task=image", path=None if path is None else str(path), **changes)
    return ImageTask(config).prepare(chosen("architecture=resnet", depth=8))


def written(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    return path


def coloured(count: int = 40) -> dict[str, Any]:
    """Images whose first channel is their class."""
    labels = np.arange(count) % 2
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 6, 3)).astype(np.uint8)
    images[..., 0] = labels[:, None, None]
    return {"images": images, "labels": labels}


def test_the_digits_are_split_with_every_class_in_every_split() -> None:
    data = prepare()
    assert data.sizes == {"train": 1077, "validation": 360, "test": 360}
    assert data.shape == {"channels": 1, "height": 8, "width": 8, "outputs": 10}
    for split, size in data.sizes.items():
        inputs, targets = data.batch(split, torch.arange(size))
        assert inputs.shape == (size, 1, 8, 8)
        shares = torch.bincount(targets, minlength=10) / size
        assert shares.min() > 0.09
    assert prepare(split_seed=1).sizes == data.sizes
    first, second = (one.batch("test", torch.arange(360))[1] for one in (data, prepare(split_seed=1)))
    assert not torch.equal(first, second)


def test_normalisation_is_fitted_on_the_training_split_by_channel(tmp_path: Path) -> None:
    data = prepare(written(tmp_path, **coloured()))
    assert data.shape == {"channels": 3, "height": 4, "width": 6, "outputs": 2}
    inputs, targets = data.batch("train", torch.arange(data.sizes["train"]))
    assert inputs.mean((0, 2, 3)) == pytest.approx(0, abs=1e-5)
    assert inputs.std((0, 2, 3), correction=0) == pytest.approx(1, abs=1e-5)
    ones = targets.double().mean().item()
    assert data.mean[0] == pytest.approx(ones), "the first channel is the class"
    assert data.scale[0] == pytest.approx(math.sqrt(ones * (1 - ones)))


def test_draws_lead_the_dimensions_and_epochs_come_round() -> None:
    data = prepare()
    inputs, targets = data.batch("train", torch.tensor([[0, 5], [1077, 1082]]))
    assert inputs.shape == (2, 2, 1, 8, 8)
    assert torch.equal(inputs[0], inputs[1])
    assert torch.equal(targets[0], targets[1])
    whole = data.batch("train", torch.tensor([5]))
    assert torch.equal(whole[0][0], inputs[0, 1])


def test_a_channel_that_is_the_same_everywhere_is_no_division_by_zero(tmp_path: Path) -> None:
    arrays = coloured()
    arrays["images"][..., 2] = 7
    inputs, _ = prepare(written(tmp_path, **arrays)).batch("train", torch.arange(4))
    assert inputs[:, 2].abs().max() == 0


def test_channels_may_come_first_and_labels_be_words(tmp_path: Path) -> None:
    arrays = coloured()
    last = read_images(str(written(tmp_path, **arrays)))
    first = read_images(
        str(written(tmp_path, x=np.moveaxis(arrays["images"], -1, 1), y=np.array(["cat", "dog"])[arrays["labels"]]))
    )
    assert np.array_equal(last.pixels, first.pixels)
    assert set(first.labels) == {"cat", "dog"}


def test_numbers_are_classes_in_their_own_order(tmp_path: Path) -> None:
    labels = np.repeat([2, 10, 1], 10)
    data = prepare(written(tmp_path, images=np.zeros((30, 4, 4)) + np.arange(30)[:, None, None], labels=labels))
    assert data.classes == ["1", "2", "10"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.arange(39) % 2}, "40 images and 39 labels; give as many of both"),
        ({"labels": np.zeros(40, dtype=int)}, "has 1 class; give images of two classes or more"),
        ({"labels": np.array([0] * 37 + [1] * 3)}, "class '1' has 3 images; each needs 5"),
        ({"images": np.zeros((40, 4))}, r"images of shape \(40, 4\); give \(images, height, width\)"),
        ({"images": np.zeros((40, 5, 6, 2))}, "with 1, 3 or 4 channels"),
        ({"images": np.full((40, 4, 6), np.nan)}, "images are finite numbers"),
        ({"labels": np.zeros((40, 2))}, "labels are whole numbers or words, one an image"),
    ],
)
def test_what_is_no_set_of_images_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadData, match=said):
        prepare(written(tmp_path, **{**coloured(), **change}))


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has no array images or x or data; it has pictures"):
        prepare(written(tmp_path, pictures=np.zeros(3)))
    with pytest.raises(BadData, match=r"is no .npz file of plain arrays"):
        prepare(written(tmp_path, images=np.array([{}], dtype=object), labels=np.zeros(1)))
    (tmp_path / "text.npz").write_text("nothing of the kind")
    with pytest.raises(BadData, match=r"is no .npz file of plain arrays"):
        prepare(tmp_path / "text.npz")
    with pytest.raises(BadData, match="cannot be read"):
        prepare(tmp_path / "gone.npz")
    with pytest.raises(BadData, match=r"images are read from an \.npz file"):
        prepare(tmp_path / "images.png")


def test_predictions_are_a_line_an_image(tmp_path: Path) -> None:
    arrays = coloured(10)
    data = prepare(written(tmp_path, **coloured()))

    def model(inputs: torch.Tensor) -> torch.Tensor:
        first = inputs[:, 0].mean((1, 2))
        return torch.stack([-first, first], 1)

    said = ImageTask.predict(data.state(), model, str(written(tmp_path, **arrays)), None, {"batch_size": 3})
    lines = [line.split(",") for line in said.splitlines()]
    assert lines[0] == ["number", "prediction", "probability"]
    assert [line[1] for line in lines[1:]] == ["0", "1"] * 5
    assert all(0.5 < float(line[2]) <= 1 for line in lines[1:])


def test_the_task_takes_every_architecture_of_images() -> None:
    assert compose(["task=image"]).architecture.name == "vit"
    for name in ("vit", "resnet", "mlp"):
        assert compose(["task=image", f"architecture={name}"]).architecture.name == name
