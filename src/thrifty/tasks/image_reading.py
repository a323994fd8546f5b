"""Images and their labels from where they lie, as bytes or floats of one size."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from thrifty.errors import BadData

BUILT_IN = "the built-in handwritten digits"
_IMAGES, _LABELS = ("images", "x", "data"), ("labels", "y", "targets")
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Images:
    """A set of images as read."""

    source: str
    pixels: np.ndarray
    """(images, channels, height, width), of the dtype they were kept in."""
    labels: list[str]
    """Of each image."""

    @property
    def fingerprint(self) -> str:
        """sha256 of pixels and labels, in hex."""
        found = hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes())
        found.update("\n".join(self.labels).encode())
        return found.hexdigest()


def read_images(path: str | None) -> Images:
    """The built-in digits, or an .npz file's arrays.

    Raises:
        BadData: a file that is missing or holds something else; names it and what was looked for.
    """
    if path is None:
        bunch: Any = load_digits()
        return Images(BUILT_IN, bunch.images[:, None].astype(np.uint8), [str(one) for one in bunch.target])
    if Path(path).suffix != ".npz":
        raise BadData(f"task.path={path}: images are read from an .npz file with the arrays images and labels; give one")
    return _from_npz(path)


def _from_npz(path: str) -> Images:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels, labels = (_array(path, arrays, names) for names in (_IMAGES, _LABELS))
    except OSError as error:
        raise BadData(f"task.path={path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise BadData(f"task.path={path}: is no .npz file of plain arrays ({str(error).splitlines()[0]})") from error
    if labels.ndim != 1 or labels.dtype.kind not in "iuUSb":
        raise BadData(
            f"task.path={path}: labels are whole numbers or words, one an image; they are {labels.dtype} {labels.shape}"
        )
    if len(labels) != len(pixels):
        raise BadData(f"task.path={path}: {len(pixels)} images and {len(labels)} labels; give as many of both")
    if pixels.dtype.kind not in "iuf" or not np.isfinite(pixels).all():
        raise BadData(f"task.path={path}: images are finite numbers; they are {pixels.dtype}")
    return Images(path, _channels_first(path, pixels), [str(one) for one in labels.tolist()])


def _array(path: str, arrays: Any, names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if name in arrays.files:
            return arrays[name]
    raise BadData(f"task.path={path}: has no array {' or '.join(names)}; it has {', '.join(arrays.files) or 'none'}")


def _channels_first(path: str, pixels: np.ndarray) -> np.ndarray:
    """(images, height, width), with channels before or behind or without -> (images, channels, height, width)."""
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[-1] in _CHANNELS:
        return np.ascontiguousarray(np.moveaxis(pixels, -1, 1))
    if pixels.ndim == 4 and pixels.shape[1] in _CHANNELS:
        return pixels
    raise BadData(
        f"task.path={path}: images of shape {pixels.shape}; give (images, height, width) or (images, height, width, channels) "
        "with 1, 3 or 4 channels"
    )
