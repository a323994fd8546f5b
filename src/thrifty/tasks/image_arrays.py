"""Images and labels as arrays, however named and laid out, as one set; and the .npz files that hold them."""

from __future__ import annotations

import itertools
import math
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from thrifty.errors import BadData
from thrifty.tasks.image_set import ImageSet, require_classes, require_memory, require_size, resized
from thrifty.tasks.table_values import listed, number_text

Parts = dict[str, tuple[np.ndarray, np.ndarray]]
"""Images and labels by split; `all` where the data tells none apart."""
Header = tuple[tuple[int, ...], np.dtype[Any], int]
"""Shape and type of an array, and the bytes of content that its archive tells of."""
IMAGE_NAMES, LABEL_NAMES = ("x", "images", "image", "data", "arr_0"), ("y", "labels", "label", "targets", "target", "arr_1")
_SPLIT_NAMES = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
CHANNELS = (1, 3, 4)
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(source: str, path: Path) -> Parts:
    """The arrays of images and labels in an .npz; nothing in it is unpickled.

    Raises:
        BadData: not an .npz, names we do not know, arrays of Python objects, or sizes that its header and content disagree on.
    """
    try:
        headers = _headers(path)
        names = named_parts(source, headers)
        wanted = [one for pair in names.values() for one in pair]
        _require_headers(source, headers, wanted)
        with np.load(path, allow_pickle=False) as arrays:
            return {split: (arrays[images], arrays[labels]) for split, (images, labels) in names.items()}
    except _UNREADABLE as error:
        raise BadData(f"{source}: cannot be read as an .npz ({first_line(error)}); write it again with numpy.savez") from error


def read_npz_images(source: str, path: Path) -> np.ndarray:
    """The array of images in an .npz, labels or none beside it."""
    try:
        headers = _headers(path)
        name = named_images(source, headers)
        _require_headers(source, headers, [name])
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except _UNREADABLE as error:
        raise BadData(f"{source}: cannot be read as an .npz ({first_line(error)}); write it again with numpy.savez") from error


def named_parts(source: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Which of the arrays are images and labels, by split.

    Raises:
        BadData: none that we know; says which were looked for, and what is there.
    """
    plain = {_plain(name): name for name in names}
    parts: dict[str, tuple[str, str]] = {}
    for split, words in {"all": ("",), **_SPLIT_NAMES}.items():
        images = _first(plain, IMAGE_NAMES, words)
        labels = _first(plain, LABEL_NAMES, words)
        if images and labels:
            parts[split] = (images, labels)
    if "train" in parts:
        parts.pop("all", None)
        return parts
    if "all" in parts:
        return {"all": parts["all"]}
    raise BadData(
        f"{source}: has no images with labels: looked for {', '.join(IMAGE_NAMES)} with {', '.join(LABEL_NAMES)}, and for x_train "
        f"with y_train or train_images with train_labels; it has: {listed(sorted(plain.values())) or 'nothing'}; rename them"
    )


def named_images(source: str, names: Iterable[str]) -> str:
    """Which of the arrays are the images to predict: the one that is there, or that is called so.

    Raises:
        BadData: none that we know.
    """
    plain = {_plain(name): name for name in names}
    found = _first(plain, IMAGE_NAMES, ("",)) or (next(iter(plain.values())) if len(plain) == 1 else None)
    if found is None:
        raise BadData(
            f"{source}: has no images: looked for {', '.join(IMAGE_NAMES)}; it has: {listed(sorted(plain.values())) or 'nothing'}; rename them"
        )
    return found


def assembled(source: str, parts: Parts, resize: int | None) -> ImageSet:
    """The parts as one set.

    Raises:
        BadData: arrays that are no images or labels, or that do not fit each other.
    """
    pixels, truths, about = [], [], ""
    for split, (images, labels) in parts.items():
        name = source if split == "all" else f"{source}, {split}"
        read, about = as_pixels(name, images, resize)
        pixels.append(read)
        truths.append(_as_labels(name, labels))
        if len(images) != len(labels):
            raise BadData(f"{name}: has {len(images)} images, but {len(labels)} labels; give one label for each image")
    shapes = {split: one.shape[1:] for split, one in zip(parts, pixels, strict=True)}
    if len(set(shapes.values())) > 1:
        raise BadData(f"{source}: images differ between parts in (channels, height, width): {shapes}; give the same in all")
    ends = list(itertools.accumulate(len(one) for one in pixels))
    given = {split: np.arange(end - len(one), end) for split, one, end in zip(parts, pixels, ends, strict=True)}
    classes, labels = _numbered(truths)
    require_classes(source, len(labels))
    return ImageSet(
        source, pixels[0] if len(pixels) == 1 else np.concatenate(pixels), classes, labels,
        {} if "all" in given else given, [about] if about else [],
    )  # fmt: skip


def as_pixels(source: str, images: np.ndarray, resize: int | None) -> tuple[np.ndarray, str]:
    """Images as (images, channels, height, width), uint8 or float32, and a sentence on how they lay; empty where usual.

    Raises:
        BadData: not numbers, not finite, not shaped as images, or too large.
    """
    if images.dtype.kind not in "buif":
        raise BadData(f"{source}: its images are {images.dtype}, not numbers; give whole numbers from 0 to 255, or fractions")
    about = ""
    if images.ndim == 3:
        images = images[:, None]
    elif (
        images.ndim == 4
        and images.shape[3] in CHANNELS
        and not (images.shape[1] in CHANNELS and images.shape[2] == images.shape[3])
    ):
        images, about = images.transpose(0, 3, 1, 2), "each pixel's channels lie side by side"
    elif images.ndim != 4 or images.shape[1] not in CHANNELS:
        raise BadData(
            f"{source}: its images are shaped {tuple(images.shape)}; give (images, height, width), or with 1, 3 or 4 channels last, "
            "or before the height"
        )
    if not len(images):
        raise BadData(f"{source}: holds no images; give some")
    kept = (images.shape[1], resize or images.shape[2], resize or images.shape[3])
    require_size(source, len(images), kept, images.dtype.itemsize)
    return resized(_as_numbers(source, images), resize), about


def first_line(error: BaseException) -> str:
    """What a library's error says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _plain(name: str) -> str:
    """A name by which `X_train`, `x-train` and `xtrain` are the same."""
    return name.lower().replace("_", "").replace("-", "")


def _first(plain: dict[str, str], stems: tuple[str, ...], words: tuple[str, ...]) -> str | None:
    wanted = [one for stem in map(_plain, stems) for word in words for one in (stem + word, word + stem)]
    return next((plain[one] for one in wanted if one in plain), None)


def _headers(path: Path) -> dict[str, Header]:
    """Of each array of an .npz."""
    headers: dict[str, Header] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    first = np.lib.format.read_magic(file) == (1, 0)
                    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                    shape, _, dtype = read(file)
                    headers[member.filename.removesuffix(".npy")] = (shape, dtype, member.file_size - file.tell())
    return headers


def _require_headers(source: str, headers: dict[str, Header], names: list[str]) -> None:
    """Refuse what would run code, or claims more than it has, before it is read."""
    for name in names:
        shape, dtype, content = headers[name]
        if dtype.hasobject:
            raise BadData(
                f"{source}: {name} holds Python objects, which only unpickling reads, and that may run code; save numbers"
            )
        needed = math.prod(shape) * dtype.itemsize
        if needed != content:
            raise BadData(
                f"{source}: {name} tells of {needed} bytes, its content has {content}; write it again with numpy.savez"
            )
        require_memory(source, f"its {name}", needed)


def _as_numbers(source: str, images: np.ndarray) -> np.ndarray:
    """uint8 where all are whole numbers from 0 to 255 (of truth values 0 and 255), else float32."""
    if images.dtype == np.bool_:
        return np.ascontiguousarray(images).astype(np.uint8) * np.uint8(255)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    low, high = images.min(), images.max()
    if not np.isfinite([low, high]).all():  # either is not a number where any is
        place = int((~np.isfinite(images)).reshape(len(images), -1).any(axis=1).argmax())
        raise BadData(f"{source}: image {place} has a pixel that is not a finite number; correct it or take the image out")
    if low >= 0 and high <= 255 and all((one == np.floor(one)).all() for one in images):
        return np.ascontiguousarray(images).astype(np.uint8)
    return np.ascontiguousarray(images, dtype=np.float32)


def _as_labels(source: str, labels: np.ndarray) -> np.ndarray:
    """One whole number or text an image."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise BadData(f"{source}: its labels are shaped {tuple(labels.shape)}; give one number or text for each image")
    if labels.dtype.kind in "SO":
        texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in labels.tolist()]
        if all(isinstance(one, str) for one in texts):
            return np.array(texts)
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.floor(labels)).all():
        return labels.astype(np.int64)
    if labels.dtype.kind not in "buiU":
        raise BadData(f"{source}: its labels are {labels.dtype}, not classes; give one whole number or text for each image")
    return labels.astype(np.int64) if labels.dtype.kind in "bui" else labels


def _numbered(truths: list[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Class numbers of all parts, and the labels, numbers sorted as numbers."""
    found, classes = np.unique(np.concatenate(truths), return_inverse=True)
    labels = [number_text(one) if isinstance(one, (int, float)) else str(one) for one in found.tolist()]
    return classes.reshape(-1).astype(np.int64), labels
