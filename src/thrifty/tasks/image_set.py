"""Labelled images as read from whatever held them, and the sizes that are refused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from thrifty.errors import BadData
from thrifty.record import memory_mib
from thrifty.tasks.table_values import counted

MOST_SIDE = 1024
"""Pixels; what a model is given, so larger images must be scaled first."""
_RESIZED_AT_ONCE = 2**24
"""Numbers, so that scaling many large images needs no second copy of all of them in float32."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one size, with their classes."""

    source: str
    """What was read, as messages name it."""
    pixels: np.ndarray
    """(images, channels, height, width), uint8 for whole numbers from 0 to 255, else float32."""
    classes: np.ndarray
    """int64, numbers of the labels."""
    labels: list[str]
    given: dict[str, np.ndarray] = field(default_factory=dict)
    """Places of the images of each split that the data itself tells apart: none, or `train` and others."""
    about: list[str] = field(default_factory=list)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of pixels, classes and given splits, in hex."""
        found = hashlib.sha256(repr((self.pixels.shape, self.pixels.dtype.str, self.labels)).encode())
        for one in (self.pixels, self.classes, *(self.given[split] for split in sorted(self.given))):
            found.update(np.ascontiguousarray(one).data.cast("B") if one.size else b"")
        return found.hexdigest()


def size_text(height: int, width: int) -> str:
    """A size as people say it: width first."""
    return f"{width}x{height}"


def require_size(source: str, images: int, shape: tuple[int, int, int], bytes_each: int = 1) -> None:
    """Refuse what no model here takes, or what would not fit in memory, before it is read.

    Args:
        shape: channels, height, width of an image as it would be kept.
        bytes_each: of a number.

    Raises:
        BadData: images without pixels, larger than 1024 a side, or more than half of the machine's memory together.
    """
    channels, height, width = shape
    size = size_text(height, width)
    if not height * width:
        raise BadData(f"{source}: its images have no pixels ({size}); give images of 1x1 or more")
    if max(height, width) > MOST_SIDE:
        raise BadData(
            f"{source}: images of {size} pixels; at most {MOST_SIDE} a side are taken: give task.resize=224, or scale them"
        )
    require_memory(source, f"{counted(images, 'image')} of {size} pixels", images * channels * height * width * bytes_each)


def require_memory(source: str, what: str, needed: int) -> None:
    """Refuse what would not fit.

    Args:
        needed: bytes.

    Raises:
        BadData: they are more than half of the machine's memory.
    """
    memory = memory_mib()
    if memory is not None and needed > memory * 2**20 / 2:
        raise BadData(
            f"{source}: {what} take {needed / 2**30:.3g} GiB, more than half of the memory here ({memory / 2**10:.3g} GiB); "
            "give fewer images, or smaller ones"
        )


def require_classes(source: str, classes: int) -> None:
    """Refuse what leaves nothing to tell apart.

    Raises:
        BadData: fewer than two classes.
    """
    if classes < 2:
        raise BadData(f"{source}: has {counted(classes, 'class', 'classes')}; there is nothing to tell apart: give two or more")


def resized(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """Images (images, channels, height, width) scaled to side x side, each new pixel the mean of those it covers."""
    if side is None or pixels.shape[2:] == (side, side):
        return pixels
    scaled = np.empty((*pixels.shape[:2], side, side), pixels.dtype)
    step = max(1, _RESIZED_AT_ONCE // max(1, int(np.prod(pixels.shape[1:]))))
    for first in range(0, len(pixels), step):
        part = torch.from_numpy(np.array(pixels[first : first + step], dtype=np.float32))
        part = F.interpolate(part, (side, side), mode="bilinear", align_corners=False, antialias=True)
        scaled[first : first + step] = part.round().clamp(0, 255) if pixels.dtype == np.uint8 else part
    return scaled
