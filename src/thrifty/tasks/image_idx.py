"""IDX files, MNIST's own: a magic number, sizes, bytes; gzipped or not.

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998, "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np

from thrifty.errors import BadData
from thrifty.tasks.image_set import require_memory

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = b"\0\0\x08"
_LABEL_DIMENSIONS, _IMAGE_DIMENSIONS = 1, (3, 4)
_PAIRS = (("train", "t10k"), ("train", "test"), ("Train", "Test"))
"""What a training file's name has where that of its test file has the other."""


def is_idx(path: Path) -> bool:
    """Whether a file is called what IDX files are, or begins like one."""
    if any(word in path.name for word in ("idx1", "idx3", "idx4", "ubyte")):
        return True
    try:
        with _unpacked(path) as file:
            start = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return start.startswith(_UNSIGNED_BYTES) and len(start) == 4 and 1 <= start[3] <= 4


def read_idx_pairs(source: str, path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels by split: `train` and `test` where a test pair lies beside, else one pair as `all`.

    Args:
        path: the images; their labels lie beside, named as MNIST names them.

    Raises:
        BadData: not IDX, cut short, no labels beside, or another number of labels than of images.
    """
    pair = _read_pair(source, path)
    for training, testing in _PAIRS:
        beside = _existing(path.with_name(path.name.replace(training, testing))) if training in path.name else None
        if beside is not None:
            return {"train": pair, "test": _read_pair(str(beside), beside)}
    return {"all": pair}


def idx_images_in(folder: Path) -> Path | None:
    """The training images of a folder that holds MNIST's files; None where it holds none."""
    found = sorted(one for one in folder.iterdir() if "images" in one.name.lower() and "idx" in one.name and one.is_file())
    training = [one for one in found if "train" in one.name.lower()]
    return next(iter([*training, *found]), None)


def read_idx_images(source: str, path: Path) -> np.ndarray:
    """The images of a file, uint8 (images, height, width) or with one dimension more.

    Raises:
        BadData: not IDX, cut short, or labels.
    """
    return _read(source, path, _IMAGE_DIMENSIONS, "images")


def _read_pair(source: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx_images(source, path)
    name = path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    beside = _existing(path.with_name(name))
    if name == path.name:
        raise BadData(
            f"{source}: which labels are its own is told by MNIST's names, and this has no 'images' in it; rename the two "
            "such as train-images-idx3-ubyte and train-labels-idx1-ubyte"
        )
    if beside is None:
        raise BadData(f"{source}: its labels are not beside it; put {name} (or {_other(name)}) there")
    labels = _read(str(beside), beside, (_LABEL_DIMENSIONS,), "labels")
    if len(images) != len(labels):
        raise BadData(
            f"{source}: has {len(images)} images, but {beside.name} has {len(labels)} labels; give a pair that belongs together"
        )
    return images, labels


def _existing(path: Path) -> Path | None:
    """The file, gzipped or not."""
    return next((one for one in (path, path.with_name(_other(path.name))) if one.is_file()), None)


def _other(name: str) -> str:
    """The same file's name, gzipped or no longer."""
    return name.removesuffix(".gz") if name.endswith(".gz") else name + ".gz"


def _read(source: str, path: Path, dimensions: tuple[int, ...], what: str) -> np.ndarray:
    try:
        with _unpacked(path) as file:
            start = file.read(4)
            if start[:3] != _UNSIGNED_BYTES or len(start) < 4 or start[3] not in dimensions:
                raise BadData(_wrong_start(source, start, dimensions, what))
            header = file.read(4 * start[3])
            sizes = struct.unpack(f">{start[3]}I", header) if len(header) == 4 * start[3] else ()
            needed = math.prod(sizes) if sizes else 0
            if not needed:
                raise BadData(f"{source}: {'holds no ' + what if sizes else 'ends within its header'}; give another file")
            require_memory(source, f"the {' x '.join(map(str, sizes))} bytes that its header tells of", needed)
            content = _bytes(file, needed)
            if len(content) < needed:
                raise BadData(
                    f"{source}: is cut short: its header tells of {needed} bytes, it has {len(content)}; fetch it again"
                )
            if file.read(1):
                raise BadData(f"{source}: has more than the {needed} bytes its header tells of; fetch it again")
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{source}: cannot be read ({error}); fetch it again") from error
    return np.frombuffer(content, dtype=np.uint8).reshape(sizes)


def _bytes(file: IO[bytes], wanted: int) -> bytearray:
    """At most so many bytes; memory grows with what is there, not with what the header claims."""
    content = bytearray()
    while len(content) < wanted and (part := file.read(min(wanted - len(content), 2**24))):
        content += part
    return content


def _wrong_start(source: str, start: bytes, dimensions: tuple[int, ...], what: str) -> str:
    if start[:3] == _UNSIGNED_BYTES and len(start) == 4 and start[3] in (_LABEL_DIMENSIONS, *_IMAGE_DIMENSIONS):
        return f"{source}: holds {'labels' if start[3] == _LABEL_DIMENSIONS else 'images'}, not {what}; give the file of the {what}"
    allowed = " or ".join(f"0x0000080{number}" for number in dimensions)
    return f"{source}: begins with 0x{start.hex() or '(nothing)'}; an IDX file of {what} begins with {allowed} (unsigned bytes): give such a file"


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        gzipped = file.read(2) == _GZIP
        file.seek(0)
        if gzipped:
            with gzip.open(file) as content:
                yield cast("IO[bytes]", content)
        else:
            yield file
