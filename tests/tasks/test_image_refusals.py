"""Images that cannot be used or must not be trusted: each refusal says which, and what to do."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_image_files import pixels, prepare, truth, write_folder, write_idx, write_mnist, write_npz
from PIL import Image

from thrifty.errors import BadData, Unsupported
from thrifty.tasks import image_set
from thrifty.tasks.image_source import read_images


def refused(given: str, message: str, **keys: Any) -> None:
    with pytest.raises(BadData, match=message) as caught:
        prepare(given, **keys)
    assert "\n" not in str(caught.value)


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes that say they are a very large image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def with_file(name: str, content: bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> object:
        (folder / name).parent.mkdir(exist_ok=True)
        return (folder / name).write_bytes(content)

    return change


def truncated(folder: Path) -> None:
    path = folder / "dog" / "001.png"
    path.write_bytes(path.read_bytes()[:60])


def other_size(folder: Path) -> None:
    Image.fromarray(pixels(1, 9, 12)[0]).save(folder / "dog" / "001.png")


def fractions(folder: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((6, 5)).astype(np.float32)).save(folder / "dog" / "x.tif")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            with_file("dog/001.png", b"no image"),
            r"dog/001.png: cannot be read as an image \(not an image\); repair it or take it out",
        ),
        (with_file("dog/001.png", b""), r"dog/001.png: cannot be read as an image"),
        (truncated, r"dog/001.png: cannot be read as an image \(.*\); repair it"),
        (with_file("dog/001.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n"), "dog/001.png: .*not an image"),
        (
            with_file("dog/001.png", png_claiming(60_000, 60_000)),
            r"dog/001.png: is too large to be read safely .*scale it down",
        ),
        (
            with_file("dog/001.png", png_claiming(11_000, 10_000)),
            r"is too large to be read safely \(11000x10000 pixels; at most",
        ),
        (fractions, "dog/x.tif: has 32 bits a pixel; save it with 8 or 16"),
        (
            other_size,
            r"images of 2 sizes: 5x6 \(19\), 12x9 \(1\), such as dog/001.png; give task.resize=N, such as task.resize=5, ",
        ),
        (lambda folder: (folder / "bird").mkdir(), "class folder 'bird' holds no images; add some, or take the folder out"),
        (with_file("bird/a.txt", b"x"), r"class folder 'bird' holds no images \(1 other file, 0 links\); add some"),
        (lambda folder: (folder / "dog").rename(folder / ".dog"), "has 1 class; there is nothing to tell apart"),
        (
            lambda folder: [one.unlink() for one in sorted((folder / "dog").iterdir())[2:]],
            "class 'dog' has 2 images; each needs 3, one",
        ),
    ],
)
def test_folders(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    folder = Path(write_folder(tmp_path / "d"))
    change(folder)
    refused(str(folder), message)


def test_folders_without_classes(tmp_path: Path) -> None:
    refused(str(tmp_path), "holds no class folders; give a folder with one folder of images for each class")
    Image.fromarray(pixels(1)[0]).save(tmp_path / "a.png")
    refused(str(tmp_path), r"holds no class folders \(1 image in it, in no class folder\)")
    refused(str(tmp_path / "a.png"), "is one image; give a folder of class folders")
    refused(str(tmp_path / "none"), "there is no such file or folder")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    refused(str(tmp_path / "a.csv"), "is none of what is read: give a folder of class folders of images, an .npz")
    os.mkfifo(tmp_path / "pipe")
    refused(str(tmp_path / "pipe"), "is neither a regular file nor a folder")
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b nothing")
    refused(str(tmp_path / "a.tar.gz"), "is an archive: unpack it, and give a folder")


def test_a_class_that_training_does_not_know(tmp_path: Path) -> None:
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test")
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "bird")
    refused(str(tmp_path), "class folder 'test/bird' has none of that name in training, which has: cat, dog; take it out")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": pixels(), "y": truth()}, r"looked for x, images, .* with y, labels, .*; it has: pictures, y; rename them"),
        ({"x": pixels(), "y": truth(19)}, "has 20 images, but 19 labels"),
        ({"x": pixels(20, 30), "y": truth()}, r"its images are shaped \(20, 30\); give \(images, height, width\)"),
        ({"x": np.array(3), "y": np.array(3)}, r"its images are shaped \(\)"),
        ({"x": pixels(), "y": np.array(3)}, r"its labels are shaped \(\)"),
        ({"x": pixels(20, 6, 5, 2), "y": truth()}, r"its images are shaped \(20, 6, 5, 2\)"),
        ({"x": pixels(), "y": np.eye(2)[truth()]}, r"its labels are shaped \(20, 2\); give one number or text for each image"),
        ({"x": pixels(), "y": truth() + 0.5}, "its labels are float64, not classes"),
        ({"x": pixels(), "y": np.zeros(20)}, "has 1 class; there is nothing to tell apart"),
        ({"x": pixels(), "y": np.arange(20)}, "class '0' has 1 image, and 19 other classes too few as well; each needs 3, one for each"),
        ({"x": pixels().astype("U3"), "y": truth()}, "its images are <U3, not numbers"),
        ({"x": pixels() * (1 + 0j), "y": truth()}, "its images are complex128, not numbers"),
        ({"x": np.where(np.arange(600).reshape(20, 6, 5) == 95, np.nan, 0.5), "y": truth()}, "image 3 has a pixel that is not a finite"),
        ({"x": np.full((20, 6, 5), 7), "y": truth()}, "every pixel of the training images is the same; there is nothing to learn"),
        ({"x": pixels()[:0], "y": truth()[:0]}, "holds no images"),
        ({"x": pixels(20, 0, 5), "y": truth()}, r"its images have no pixels \(5x0\)"),
        ({"x": np.zeros((20, 2, 1025), np.uint8), "y": truth()}, "images of 1025x2 pixels; at most 1024 a side .*task.resize=224"),
        ({"x": pixels(), "y": np.array([{}] * 20)}, "y holds Python objects, which only unpickling reads, and that may run code"),
        ({"x_train": pixels(), "y_train": truth(), "x_test": pixels(6, 3, 3), "y_test": truth(6)}, "images differ between parts"),
        ({"x_train": pixels(), "y_train": truth(), "x_test": pixels(6), "y_test": truth(6) + 5}, "class '5' has 0 images in its training part"),
        ({"x_train": pixels(), "y_train": truth(), "x_test": pixels(6), "y_test": truth(5)}, "a.npz, test: has 6 images, but 5 labels"),
    ],
)  # fmt: skip
def test_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    refused(write_npz(tmp_path / "a.npz", **arrays), message)


def test_splits_too_small_for_the_classes(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x=pixels(30), y=np.arange(30) % 10)
    refused(path, "30 images of 10 classes do not fill the splits: test would get 3, and needs one of each class", test=0.1)


def test_an_npz_that_lies_or_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    content = Path(write_npz(path)).read_bytes()
    path.write_bytes(content[:200])
    refused(str(path), r"cannot be read as an .npz \(.*\); write it again with numpy.savez")
    path.write_bytes(b"nothing")
    refused(str(path), "cannot be read as an .npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 10**6)})
    labels = io.BytesIO()
    np.save(labels, truth())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"few")
        archive.writestr("y.npy", labels.getvalue())
    refused(str(path), "x tells of 1000000000000000 bytes, its content has 3")


def test_more_than_half_of_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_set, "memory_mib", lambda: 900 / 2**20)
    refused(write_npz(tmp_path / "a.npz"), "its x take 5.59e-07 GiB, more than half of the memory here")
    refused(write_mnist(tmp_path / "m"), "more than half of the memory")
    refused(
        write_folder(tmp_path / "d"),
        "20 images of 5x6 pixels take 5.59e-07 GiB, more than half of the memory here .* fewer images",
    )


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ({"magic": 0x80D}, {}, "begins with 0x0000080d; an IDX file of images begins with 0x00000803 or 0x00000804"),
        ({"magic": 0xD03}, {}, "begins with 0x00000d03; an IDX file of images"),
        ({"magic": 0x801}, {}, "holds labels, not images; give the file of the images"),
        ({"cut": 100}, {}, "is cut short: its header tells of 600 bytes, it has 84; fetch it again"),
        ({"cut": 7}, {}, "ends within its header"),
        ({"cut": 2}, {}, "begins with 0x0000; an IDX file"),
        ({"array": np.zeros((20, 0, 5))}, {}, "holds no images"),
        (
            {},
            {"array": truth(19)},
            "has 20 images, but train-labels-idx1-ubyte has 19 labels; give a pair that belongs together",
        ),
        ({}, {"magic": 0x803}, "train-labels-idx1-ubyte: holds images, not labels"),
        ({}, {"cut": 10}, "train-labels-idx1-ubyte: is cut short: its header tells of 20 bytes, it has 2"),
        ({}, {"array": np.zeros(20)}, "has 1 class; there is nothing to tell apart"),
    ],
)
def test_idx(tmp_path: Path, images: dict[str, Any], labels: dict[str, Any], message: str) -> None:
    path = write_idx(tmp_path / "train-images-idx3-ubyte", **{"array": pixels(), **images})
    write_idx(tmp_path / "train-labels-idx1-ubyte", **{"array": truth(), **labels})
    refused(path, message)


def test_idx_that_goes_on_or_ends_within_its_compression(tmp_path: Path) -> None:
    path = Path(write_mnist(tmp_path / "m", gz=".gz"))
    path.write_bytes(path.read_bytes()[:-20])
    refused(str(path), r"cannot be read \(.*\); fetch it again")
    path = Path(write_mnist(tmp_path / "n"))
    path.write_bytes(path.read_bytes() + b"x")
    refused(str(path), "has more than the 600 bytes its header tells of")


def test_idx_without_its_labels(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "train-images-idx3-ubyte", pixels())
    refused(path, r"its labels are not beside it; put train-labels-idx1-ubyte \(or train-labels-idx1-ubyte.gz\) there")
    refused(write_idx(tmp_path / "digits-ubyte", pixels()), "this has no 'images' in it; rename the two such as train-images")
    write_mnist(tmp_path / "m")
    write_idx(tmp_path / "m" / "t10k-images-idx3-ubyte", pixels(4))
    refused(str(tmp_path / "m"), "t10k-images-idx3-ubyte: its labels are not beside it")


def test_hdf5_that_leads_elsewhere(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = pixels()
    (tmp_path / "raw").write_bytes(pixels().tobytes())
    layout = h5py.VirtualLayout((20, 6, 5), "u1")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", shape=(20, 6, 5))

    def refuse(name: str, write: Callable[[Any], object], message: str) -> None:
        with h5py.File(tmp_path / name, "w") as file:
            file["y"] = truth()
            write(file)
        refused(str(tmp_path / name), message)

    def link(to: object) -> Callable[[Any], object]:
        return lambda file: file.__setitem__("x", to)

    refuse(
        "a.h5", link(h5py.ExternalLink(str(tmp_path / "other.h5"), "x")), "'x' is a link to elsewhere; such files are not read"
    )
    refuse("b.h5", link(h5py.SoftLink("/y")), "'x' is a link to elsewhere")
    outside = [(str(tmp_path / "raw"), 0, 600)]
    refuse(
        "c.h5",
        lambda file: file.create_dataset("x", (20, 6, 5), "u1", external=outside),
        "'x' keeps its numbers in other files",
    )
    refuse("d.h5", lambda file: file.create_virtual_dataset("x", layout), "'x' keeps its numbers in other files")
    refuse(
        "e.h5",
        lambda file: file.create_dataset("x", (10**6, 10**4, 10**4), "u1", chunks=(1, 100, 100)),
        "more than half of the memory",
    )
    refuse("f.h5", lambda file: file.create_group("x"), "it has: y; rename them")
    (tmp_path / "g.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    refused(str(tmp_path / "g.h5"), "cannot be read as HDF5")


def test_hdf5_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        Unsupported, match=r"HDF5 needs h5py, which is not installed; pip install 'thrifty\[hdf5\]', or give an .npz"
    ):
        read_images(str(tmp_path / "a.h5"), None)
