"""Prediction for image files, folders and arrays."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_image_files import linear, pixels, prepare, truth, write_folder, write_idx, write_npz
from PIL import Image

from thrifty.errors import BadConfiguration, BadData
from thrifty.tasks.image import ImageData, ImageTask
from thrifty.tasks.prediction_batches import Examples, Predictor


def predicted(data: ImageData, given: Path | str, batch_size: int = 7) -> list[dict[str, str]]:
    state = json.loads(json.dumps(data.state()))
    text = ImageTask.predict(state, linear(data), str(given), None, {"batch_size": batch_size})
    return list(csv.DictReader(io.StringIO(text)))


def expected(data: ImageData, images: np.ndarray) -> list[tuple[str, float]]:
    """By hand, from pixels (images, height, width)."""
    mean, scale = data.normalisation.mean[0], data.normalisation.scale[0]
    inputs = torch.from_numpy((images.astype(np.float32) - mean) / scale).float().unsqueeze(1)
    best, classes = linear(data)(inputs).detach().softmax(-1).max(-1)
    return [(data.labels[number], one) for number, one in zip(classes.tolist(), best.tolist(), strict=True)]


def test_files_folders_and_arrays_get_the_same_answers(tmp_path: Path) -> None:
    folder = Path(write_folder(tmp_path / "d"))
    data = prepare(str(folder))
    wanted = expected(data, pixels())
    assert len({label for label, _ in wanted}) == 2
    rows = predicted(data, folder)
    assert list(rows[0]) == ["file", "prediction", "probability"]
    assert [one["file"] for one in rows] == [
        f"{name}/{number:03}.png" for name in ("cat", "dog") for number in range(name == "dog", 20, 2)
    ]
    for row in rows:
        label, probability = wanted[int(Path(row["file"]).stem)]
        assert (row["prediction"], float(row["probability"])) == (label, pytest.approx(probability, rel=1e-5))
    (one,) = predicted(data, folder / "dog" / "003.png")
    assert (one["file"], one["prediction"]) == (str(folder / "dog" / "003.png"), wanted[3][0])
    arrays = [
        write_npz(tmp_path / "a.npz", x=pixels(), y=truth()), write_npz(tmp_path / "b.npz", pictures=pixels()),
        write_idx(tmp_path / "new-images-idx3-ubyte.gz", pixels()),
    ]  # fmt: skip
    for path in arrays:
        rows = predicted(data, path)
        assert [one["number"] for one in rows] == [str(number) for number in range(20)]
        assert [one["prediction"] for one in rows] == [label for label, _ in wanted]
        assert [one["prediction"] for one in predicted(data, path, batch_size=100)] == [label for label, _ in wanted]


class OneThenAll(Predictor):
    """Chooses its own batches: the first image, then the others."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def predict(self, examples: Examples) -> Iterator[torch.Tensor]:
        for first, end in ((0, 1), (1, examples.count)):
            yield self.model(examples.inputs(first, end)).detach()


def test_a_predictor_that_chooses_its_batches_gives_the_same(tmp_path: Path) -> None:
    data = prepare(write_folder(tmp_path / "d"))
    for given in (str(tmp_path / "d"), write_npz(tmp_path / "a.npz")):
        plain, chosen = (
            ImageTask.predict(data.state(), model, given, None, {}) for model in (linear(data), OneThenAll(linear(data)))
        )
        rows = [list(csv.DictReader(io.StringIO(text))) for text in (plain, chosen)]
        assert [list(one.values())[:2] for one in rows[0]] == [list(one.values())[:2] for one in rows[1]]


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = pixels()
    data = prepare(write_npz(tmp_path / "a.npz"))
    assert predicted(data, tmp_path / "a.h5") == predicted(data, tmp_path / "a.npz")


def test_files_are_brought_to_the_model_s_channels_and_size(tmp_path: Path) -> None:
    data = prepare(resize=6)
    grey = np.full((9, 14), 90, np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey).convert("RGBA").save(tmp_path / "colour.png")
    first, second = predicted(data, tmp_path)
    assert first["probability"] == second["probability"]
    assert float(first["probability"]) == pytest.approx(expected(data, np.full((1, 6, 6), 90))[0][1], rel=1e-5)


def test_predictions_are_written_where_asked(tmp_path: Path) -> None:
    data = prepare(write_npz(tmp_path / "a.npz"))
    output = tmp_path / "out.csv"
    said = ImageTask.predict(data.state(), linear(data), str(tmp_path / "a.npz"), output, {})
    assert said == f"wrote 20 predictions to {output}"
    assert len(output.read_text().splitlines()) == 21
    for wrong in (tmp_path, tmp_path / "none" / "out.csv"):
        with pytest.raises(BadConfiguration, match="folder that exists"):
            ImageTask.predict(data.state(), linear(data), str(tmp_path / "a.npz"), wrong, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "small.png",
            "small.png: 3x3 pixels with 1 channel; the model takes 5x6 pixels with 1 channel: give such, or train with ",
        ),
        ("bad.png", "bad.png: cannot be read as an image"),
        ("none.png", "none.png: there is no such file or folder"),
        ("empty", "empty: holds no images; give a folder of image files"),
        ("colour.npz", "5x6 pixels with 3 channels; the model takes 5x6 pixels with 1 channel"),
        ("fractions.npz", "has fractions, and the model was trained on whole numbers from 0 to 255"),
        ("unnamed.npz", "has no images: looked for x, images, image, data, arr_0; it has: a, b; rename them"),
        ("labels-idx1-ubyte", "holds labels, not images"),
    ],
)
def test_refusals(tmp_path: Path, given: str, message: str) -> None:
    data = prepare(write_npz(tmp_path / "a.npz"))
    Image.fromarray(pixels(1, 3, 3)[0]).save(tmp_path / "small.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    write_npz(tmp_path / "colour.npz", x=pixels(2, 6, 5, 3))
    write_npz(tmp_path / "fractions.npz", x=pixels(2) / 255)
    write_npz(tmp_path / "unnamed.npz", a=pixels(2), b=truth(2))
    write_idx(tmp_path / "labels-idx1-ubyte", truth())
    with pytest.raises(BadData, match=message) as caught:
        predicted(data, tmp_path / given)
    assert "\n" not in str(caught.value)


def test_image_files_do_not_suit_a_model_of_fractions(tmp_path: Path) -> None:
    random: Any = np.random.default_rng(0)
    data = prepare(write_npz(tmp_path / "a.npz", x=random.normal(size=(20, 6, 5)), y=truth()))
    Image.fromarray(pixels(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(BadData, match=r"the model was trained on fractions, and image files hold whole numbers; give an .npz"):
        predicted(data, tmp_path / "a.png")
    assert len(predicted(data, tmp_path / "a.npz")) == 20
