"""Every form of images that is read: folders of files, IDX, .npz, HDF5."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_image_files import CLASSES, all_raw, pixels, prepare, raw, truth, write_folder, write_idx, write_mnist, write_npz
from PIL import Image

from thrifty.tasks.image_source import read_images


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    images = read_images(write_folder(tmp_path / "d"), None)
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    assert (images.pixels == pixels()[order][:, None]).all()
    assert (images.labels, images.classes.tolist()) == (list(CLASSES), [0] * 10 + [1] * 10)
    assert images.about == []
    data = prepare(str(tmp_path / "d"))
    assert data.shape == {"channels": 1, "height": 6, "width": 5, "outputs": 2}
    assert data.about[1] == "2 classes (cat 50%, dog 50%)"


def test_class_folders_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "cat").rename(tmp_path / "10")
    (tmp_path / "dog").rename(tmp_path / "2")
    assert read_images(str(tmp_path), None).labels == ["2", "10"]


def test_what_is_no_image_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = Path(write_folder(tmp_path / "d"))
    before = read_images(str(folder), None)
    (folder / "README.md").write_text("about")
    (folder / "cat" / "notes.txt").write_text("about")
    (folder / "cat" / ".hidden.png").write_text("no image")
    (folder / ".git").mkdir()
    (folder / "dog" / "again.png").symlink_to(folder / "dog" / "001.png")
    (folder / "dog" / "all").symlink_to(folder, target_is_directory=True)
    (folder / "cat" / "more").mkdir()
    Image.fromarray(pixels(1)[0]).save(folder / "cat" / "more" / "x.PNG")
    found = read_images(str(folder), None)
    assert found.labels == before.labels
    assert len(found.pixels) == len(before.pixels) + 1  # folders within a class folder are its own
    assert found.about == ["1 other file and 2 links left out"]


def test_folders_named_after_splits_are_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", pixels(20))
    write_folder(tmp_path / "test", pixels(20)[14:])
    images = read_images(str(tmp_path), None)
    assert images.labels == list(CLASSES)
    assert {split: len(places) for split, places in images.given.items()} == {"train": 20, "test": 6}
    data = prepare(str(tmp_path))
    assert data.sizes == {"train": 16, "validation": 4, "test": 6}
    assert (np.sort(raw(data, "test").round(), 0) == np.sort(pixels(20)[14:][:, None], 0)).all()
    assert "splits as the data has them (train 16, validation 4, test 6); validation drawn from its training part" in data.about
    write_folder(tmp_path / "val", pixels(20)[:4])
    assert prepare(str(tmp_path)).sizes == {"train": 20, "validation": 4, "test": 6}


def test_two_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "cat").rename(tmp_path / "train")
    (tmp_path / "dog").rename(tmp_path / "test")
    assert read_images(str(tmp_path), None).labels == ["test", "train"]


@pytest.mark.parametrize(
    ("modes", "channels"),
    [
        (["L"], 1),
        (["RGB"], 3),
        (["RGBA"], 4),
        (["L", "RGB"], 3),
        (["RGB", "RGBA"], 3),
        (["LA"], 4),
        (["P"], 3),
        (["1"], 1),
        (["CMYK"], 3),
    ],
)
def test_channels_are_those_of_the_files(tmp_path: Path, modes: list[str], channels: int) -> None:
    write_folder(tmp_path, suffix=".tif")
    for number, path in enumerate(sorted(tmp_path.rglob("*.tif"))):
        with Image.open(path) as image:
            converted = image.convert(modes[number % len(modes)])
        converted.save(path)
    images = read_images(str(tmp_path), None)
    assert images.pixels.shape == (20, channels, 6, 5)
    assert images.pixels.dtype == np.uint8
    odd = sum(mode != "RGB" for mode in modes) * 10 if len(modes) > 1 else 0
    assert images.about == ([f"{odd} images of another number of channels made colour, transparency left out"] if odd else [])


def test_images_stand_upright(tmp_path: Path) -> None:
    upright = pixels(20, 6, 5, 3)
    write_folder(tmp_path, upright)
    for number, path in enumerate(sorted(tmp_path.rglob("*.png"), key=lambda path: path.name)):
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: to be shown turned to the right by a quarter
        Image.fromarray(np.rot90(upright[number])).save(path, exif=exif)
    found = read_images(str(tmp_path), None)
    assert (found.pixels[0] == upright[0].transpose(2, 0, 1)).all()


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    write_folder(tmp_path, pixels().astype(np.uint16) * 256 + 255)
    assert (read_images(str(tmp_path), None).pixels[0, 0] == pixels()[0]).all()


def test_images_of_several_sizes_are_scaled(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", pixels(20, 6, 5, 3))
    Image.fromarray(np.full((9, 30, 3), 77, np.uint8)).save(tmp_path / "a" / "cat" / "wide.png")
    images = read_images(str(tmp_path / "a"), 4)
    assert images.pixels.shape == (21, 3, 4, 4)
    assert (images.pixels[10] == 77).all()
    assert (
        prepare(str(tmp_path / "a"), resize=4)
        .about[0]
        .endswith("21 images of 4x4 pixels, 3 channels, scaled to 4x4 whatever their shape")
    )


def test_files_and_arrays_are_scaled_alike(tmp_path: Path) -> None:
    images = pixels(20, 12, 17, 3)
    folder, array = write_folder(tmp_path / "d", images), write_npz(tmp_path / "a.npz", x=images, y=truth())
    for side in (5, 12, 30):
        order = [*range(0, 20, 2), *range(1, 20, 2)]
        one, other = read_images(folder, side).pixels.astype(int), read_images(array, side).pixels[order].astype(int)
        assert abs(one - other).max() <= 1  # rounded once, or after each of two passes


# -- IDX --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_mnist_s_files(tmp_path: Path, gz: str) -> None:
    path = write_mnist(tmp_path / "m", gz=gz)
    images = read_images(path, None)
    assert (images.pixels == pixels()[:, None]).all()
    assert (images.classes == truth()).all()
    assert images.labels == ["0", "1"]
    assert images.given == {}
    write_mnist(tmp_path / "m", "t10k", gz, count=8)
    for given in (path, str(tmp_path / "m")):
        data = prepare(given)
        assert data.sizes == {"train": 16, "validation": 4, "test": 8}
        assert "splits as the data has them" in "; ".join(data.about)
    alone = read_images(str(tmp_path / "m" / f"t10k-images-idx3-ubyte{gz}"), None)
    assert (len(alone.pixels), alone.given) == (8, {})


def test_a_pair_may_be_half_gzipped_and_named_with_dots(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-labels.idx1-ubyte.gz", truth())
    images = read_images(write_idx(tmp_path / "train-images.idx3-ubyte", pixels()), None)
    assert (images.classes == truth()).all()


def test_colours_in_idx(tmp_path: Path) -> None:
    write_idx(tmp_path / "labels", truth())
    images = read_images(write_idx(tmp_path / "images", pixels(20, 6, 5, 3)), None)
    assert (images.pixels == pixels(20, 6, 5, 3).transpose(0, 3, 1, 2)).all()


# -- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "Y"), ("images", "labels"), ("image", "label"), ("data", "target"), ("arr_0", "arr_1")]
)
def test_names_of_arrays(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write_npz(tmp_path / "a.npz", **{names[0]: pixels(), names[1]: truth(), "other": np.zeros(3)})
    images = read_images(path, None)
    assert (images.pixels == pixels()[:, None]).all()
    assert (images.classes == truth()).all()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"), ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)  # fmt: skip
def test_names_of_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    arrays = (pixels(), truth(), pixels()[:6], truth(6)[:, None])
    data = prepare(write_npz(tmp_path / "a.npz", **dict(zip(names, arrays, strict=True))))
    assert data.sizes == {"train": 16, "validation": 4, "test": 6}
    assert (np.sort(raw(data, "test").round(), 0) == np.sort(pixels()[:6][:, None], 0)).all()


@pytest.mark.parametrize(
    ("shape", "moved", "channels"),
    [
        ((6, 5), None, 1),
        ((6, 5, 3), (3, 1), 3),
        ((3, 6, 5), None, 3),
        ((6, 5, 1), (3, 1), 1),
        ((4, 4, 4), None, 4),
        ((3, 4, 4), None, 3),
    ],
)
def test_layouts_of_arrays(tmp_path: Path, shape: tuple[int, ...], moved: Any, channels: int) -> None:
    images = read_images(write_npz(tmp_path / "a.npz", x=pixels(20, *shape), y=truth()), None)
    wanted = pixels(20, *shape)
    wanted = wanted[:, None] if wanted.ndim == 3 else wanted if moved is None else np.moveaxis(wanted, *moved)
    assert images.pixels.shape[1] == channels
    assert (images.pixels == wanted).all()


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["b", "a"] * 10), ["a", "b"]), (np.array([b"b", b"a"] * 10), ["a", "b"]), (np.array([10, 2] * 10), ["2", "10"]),
        (np.array([1.0, 0.0] * 10), ["0", "1"]), (np.array([True, False] * 10), ["0", "1"]), (np.array([-1, 3] * 10, np.int8), ["-1", "3"]),
    ],
)  # fmt: skip
def test_labels_of_arrays(tmp_path: Path, labels: np.ndarray, names: list[str]) -> None:
    images = read_images(write_npz(tmp_path / "a.npz", x=pixels(), y=labels), None)
    assert images.labels == names
    first = str(labels[0].decode() if labels.dtype.kind == "S" else labels[0] if labels.dtype.kind == "U" else int(labels[0]))
    assert images.labels[images.classes[0]] == first


def test_a_compressed_npz_reads_the_same(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=pixels(), y=truth())
    assert read_images(str(tmp_path / "a.npz"), None).fingerprint == pytest.approx(
        read_images(write_npz(tmp_path / "b.npz"), None).fingerprint
    )


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = pixels(20, 6, 5, 3)
        file["labels"] = ["b", "a"] * 10
        file.create_group("about")
    images = read_images(str(tmp_path / "a.h5"), None)
    assert (images.pixels == pixels(20, 6, 5, 3).transpose(0, 3, 1, 2)).all()
    assert (images.labels, images.classes[:2].tolist()) == (["a", "b"], [1, 0])
    with h5py.File(tmp_path / "split", "w") as file:
        for part, count in (("train", 20), ("valid", 4), ("test", 6)):
            file[f"x_{part}"], file[f"y_{part}"] = pixels(20)[:count], truth(20)[:count]
    assert prepare(str(tmp_path / "split")).sizes == {"train": 20, "validation": 4, "test": 6}


def test_forms_agree(tmp_path: Path) -> None:
    forms = [write_folder(tmp_path / "d"), write_mnist(tmp_path / "m"), write_npz(tmp_path / "a.npz")]
    first, *others = [all_raw(prepare(one)) for one in forms]
    assert all((first == one).all() for one in others)


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "d")
    assert len(read_images(f"~{os.sep}d", None).pixels) == 20
