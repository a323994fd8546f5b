"""Images and labels in an HDF5 file. What would make the file read another is refused."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from thrifty.errors import BadData, Unsupported
from thrifty.tasks.image_arrays import Parts, first_line, named_images, named_parts
from thrifty.tasks.image_set import require_memory

SUFFIXES = (".h5", ".hdf5", ".hdf")
Read = TypeVar("Read")
MAGIC = b"\x89HDF\r\n\x1a\n"


def read_hdf5(source: str, path: Path) -> Parts:
    """The datasets of images and labels in the file's root.

    Raises:
        BadData: not HDF5, names we do not know, or links and datasets that lead elsewhere.
        Unsupported: h5py is not installed.
    """

    def read(file: Any) -> Parts:
        names = named_parts(source, _datasets(source, file))
        return {
            split: (_array(source, file[images]), _array(source, file[labels])) for split, (images, labels) in names.items()
        }

    return _reading(source, path, read)


def read_hdf5_images(source: str, path: Path) -> np.ndarray:
    """The dataset of images in the file's root, labels or none beside it."""
    return _reading(source, path, lambda file: _array(source, file[named_images(source, _datasets(source, file))]))


def _reading(source: str, path: Path, read: Callable[[Any], Read]) -> Read:
    if importlib.util.find_spec("h5py") is None:
        raise Unsupported(f"{source}: HDF5 needs h5py, which is not installed; pip install 'thrifty[hdf5]', or give an .npz")
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return read(file)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
        raise BadData(f"{source}: cannot be read as HDF5 ({first_line(error)}); write it again") from error


def _datasets(source: str, file: Any) -> list[str]:
    """Names of the datasets in the root, each of them in this file."""
    import h5py

    names = []
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise BadData(
                f"{source}: '{name}' is a link to elsewhere; such files are not read: copy what it leads to into the file"
            )
        found = file[name]
        if isinstance(found, h5py.Dataset):
            if found.external or found.is_virtual:
                raise BadData(
                    f"{source}: '{name}' keeps its numbers in other files; such files are not read: copy them into the file"
                )
            names.append(name)
    return names


def _array(source: str, dataset: Any) -> np.ndarray:
    require_memory(source, f"'{dataset.name.lstrip('/')}' ", math.prod(dataset.shape) * dataset.dtype.itemsize)
    return np.asarray(dataset[()])
