"""One image file: its size without reading it, and its pixels. Pillow does the decoding."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from thrifty.errors import BadData
from thrifty.tasks.image_set import size_text

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm", ".pbm"}
)  # fmt: skip
MOST_PIXELS = 100_000_000
"""Of one file: a few hundred bytes may claim billions."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Not all that Pillow knows: some of its readers start other programs, such as that of EPS."""
_GREY, _DEEP = ("1", "L"), ("I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_SIDEWAYS = 5
"""EXIF orientations from here on lie on their side."""
# Pillow's readers raise whatever goes wrong inside them; these are not ours to mend, and each is the file's fault.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, AttributeError,
    MemoryError, NotImplementedError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are read."""

    height: int
    width: int
    channels: int
    """1 grey, 3 colours, 4 colours and transparency."""


def is_image_name(path: Path) -> bool:
    """Whether a file is called what image files are called."""
    return path.suffix.lower() in SUFFIXES


def look_at(path: Path, name: str) -> Header:
    """Size and channels of an image, upright.

    Raises:
        BadData: not an image we read, or one that claims more than 100 million pixels.
    """
    with _opened(path, name) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS:
            width, height = height, width
        return Header(height, width, _channels(image))


def read_pixels(path: Path, name: str, channels: int, side: int | None) -> np.ndarray:
    """An image as uint8 (channels, height, width), upright; of one with several frames the first.

    Args:
        side: what height and width are scaled to, as `resized` does it, but for rounding; Pillow takes a tenth of the time for one.

    Raises:
        BadData: not an image we read, damaged, cut short, or claiming more than 100 million pixels.
    """
    with _opened(path, name) as image:
        if image.mode in _DEEP:
            image.load()
            image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
        upright = ImageOps.exif_transpose(image)
        converted = upright.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
        if side is not None and converted.size != (side, side):
            converted = converted.resize((side, side), Image.Resampling.BILINEAR)
        pixels = np.array(converted, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Image.Image]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of, it reads
        try:
            with Image.open(path, formats=_FORMATS) as image:
                _require_readable(image, name)
                yield image
        except BadData:
            raise
        except Image.DecompressionBombError as error:
            raise BadData(f"{name}: {_too_large(str(error))}") from error
        except _UNREADABLE as error:
            # Pillow names the file again, by its whole path.
            why = "not an image" if isinstance(error, Image.UnidentifiedImageError) else _first_line(error)
            raise BadData(f"{name}: cannot be read as an image ({why}); repair it or take it out") from error


def _require_readable(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BadData(f"{name}: {_too_large(f'{size_text(height, width)} pixels')}")
    if image.mode in ("I", "F"):
        raise BadData(f"{name}: has 32 bits a pixel; save it with 8 or 16, or give the numbers in an .npz")


def _too_large(what: str) -> str:
    return f"is too large to be read safely ({what}; at most {MOST_PIXELS:,} pixels are); scale it down"


def _channels(image: Image.Image) -> int:
    if image.mode in (*_GREY, *_DEEP):
        return 1
    return 4 if "A" in image.getbands() or (image.mode == "P" and "transparency" in image.info) else 3


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
