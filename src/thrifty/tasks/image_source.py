"""What `task.path` names, told apart by what it is and not only by what it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from thrifty.errors import BadData
from thrifty.tasks import image_hdf5
from thrifty.tasks.image_arrays import assembled, read_npz
from thrifty.tasks.image_files import is_image_name
from thrifty.tasks.image_folder import read_folder
from thrifty.tasks.image_idx import idx_images_in, is_idx, read_idx_pairs
from thrifty.tasks.image_set import ImageSet, resized

BUILT_IN = "the built-in digits"
WHAT_TO_GIVE = "give a folder of class folders of images, an .npz, an HDF5 or an IDX file"
_GREY_LEVELS = 16
_ZIP = b"PK\x03\x04"


def read_images(given: str | None, resize: int | None) -> ImageSet:
    """Read labelled images.

    Raises:
        BadData: missing, damaged, unsafe, or nothing that can be learned from.
        Unsupported: HDF5 without h5py.
    """
    if given is None:
        return _digits(resize)
    path, kind = Path(given).expanduser(), kind_of(given)
    if kind == "folder":
        try:
            images = idx_images_in(path)
            if images is None:
                return read_folder(given, path, resize)
        except OSError as error:
            raise BadData(f"{error.filename or given}: cannot be read ({error.strerror}); {WHAT_TO_GIVE}") from error
        path, kind, given = images, "idx", str(images)
    if kind == "image":
        raise BadData(f"{given}: is one image; {WHAT_TO_GIVE}")
    reader = {"npz": read_npz, "hdf5": image_hdf5.read_hdf5, "idx": read_idx_pairs}[kind]
    return assembled(given, reader(given, path), resize)


def kind_of(given: str) -> str:
    """What a path leads to: folder, image, npz, hdf5 or idx.

    Raises:
        BadData: nothing, or none of these.
    """
    path = Path(given).expanduser()
    try:
        if path.is_dir():
            return "folder"
        if not path.exists():
            raise BadData(f"{given}: there is no such file or folder; {WHAT_TO_GIVE}")
        if not path.is_file():
            raise BadData(f"{given}: is neither a regular file nor a folder; {WHAT_TO_GIVE}")
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise BadData(f"{given}: cannot be read ({error.strerror}); {WHAT_TO_GIVE}") from error
    suffix = path.suffix.lower()
    if is_image_name(path):
        return "image"
    if suffix == ".npz":
        return "npz"
    if suffix in image_hdf5.SUFFIXES or start == image_hdf5.MAGIC:
        return "hdf5"
    if is_idx(path):
        return "idx"
    what = (
        "is an archive: unpack it, and"
        if start.startswith(_ZIP) or suffix in (".zip", ".tar", ".tgz", ".gz")
        else "is none of what is read:"
    )
    raise BadData(f"{given}: {what} {WHAT_TO_GIVE}")


def _digits(resize: int | None) -> ImageSet:
    """Alpaydin and Kaynak's handwritten digits, as scikit-learn brings them: 0 to 16, here 0 to 255 as image files have it."""
    bunch: Any = load_digits()
    pixels = (bunch.images * (255 / _GREY_LEVELS)).round().astype(np.uint8)[:, None]
    return ImageSet(BUILT_IN, resized(pixels, resize), bunch.target.astype(np.int64), [str(one) for one in bunch.target_names])
