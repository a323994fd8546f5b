"""Tensors in an HDF5 file, each a dataset of its name in the root. What would make the file read another is refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from thrifty.errors import BadData, Unsupported
from thrifty.formats.header import ENTRY, LONGEST, Header
from thrifty.formats.numpy_arrays import array_of, entry_name, numpy_type, tensor_of
from thrifty.formats.unreadable import said_in_a_line

MAGIC = b"\x89HDF\r\n\x1a\n"
_VERSION = ("v110", "v110")
"""Of the library, of 2016: the first whose files hold check sums of what they say of themselves."""
_UNREADABLE = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, MemoryError)


def write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write tensors and the header, in pieces that are neither chunked nor filtered.

    Raises:
        OSError: the disk is full or the directory cannot be written.
        Unsupported: h5py is not installed.
    """
    h5py = _library()
    try:
        with h5py.File(path, "w", libver=_VERSION) as file:
            file[ENTRY] = np.frombuffer(header.text().encode(), np.uint8)
            for name, one in tensors.items():
                file[entry_name(name)] = array_of(one)
    except RuntimeError as error:  # what the library makes of a disk that fills up as the file is closed
        raise OSError(str(error)) from error


@contextmanager
def opened(path: Path, lazily: bool = False) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """The header, and each tensor when it is asked for; all are held to the header before one is read.

    Raises:
        BadData: no such file, one that does not agree with itself, or that keeps its numbers elsewhere.
        Unsupported: h5py is not installed.
    """
    h5py = _library()
    with said_in_a_line(path, "HDF5", *_UNREADABLE), h5py.File(path, "r") as file:
        names = list(file)
        for name in names:
            _require_own_numbers(path, file, name)
        if ENTRY not in names or file[ENTRY].dtype != np.uint8 or file[ENTRY].ndim != 1 or len(file[ENTRY]) > LONGEST:
            raise BadData(f"{path}: is no HDF5 file that `thrifty export` wrote (no {ENTRY} in it)")
        header = Header.parse(path, file[ENTRY][()].tobytes())
        kinds = header.stored()
        if set(names) != {ENTRY, *map(entry_name, kinds)}:
            raise BadData(f"{path}: the file was altered (its datasets are not those that its {ENTRY} lists)")
        for name, kind in kinds.items():
            found = file[entry_name(name)]
            if (found.dtype, found.shape) != (numpy_type(kind), kind.shape):
                raise BadData(f"{path}: the file was altered ('{name:.80}' is not what its {ENTRY} says)")
        yield header, lambda name: tensor_of(np.asarray(file[entry_name(name)][()]), kinds[name])


def _library() -> Any:
    if importlib.util.find_spec("h5py") is None:
        raise Unsupported("HDF5 needs h5py, which is not installed; pip install 'thrifty[hdf5]', or take --format safetensors")
    import h5py

    return h5py


def _require_own_numbers(path: Path, file: Any, name: str) -> None:
    """Refuse links, groups, datasets whose numbers lie in other files, and such as claim more bytes than they have."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise BadData(f"{path}: '{name:.80}' is a link to elsewhere; such files are not read")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise BadData(f"{path}: '{name:.80}' is not a dataset; `thrifty export` writes nothing else")
    if found.external or found.is_virtual:
        raise BadData(f"{path}: '{name:.80}' keeps its numbers in other files; such files are not read")
    if found.dtype.kind not in "buif":
        raise BadData(f"{path}: '{name:.80}' holds {found.dtype!s:.40}, not numbers; such files are not read")
    if found.chunks is not None or found.nbytes > path.stat().st_size:
        raise BadData(f"{path}: '{name:.80}' is compressed, or claims more bytes than the file has; such files are not read")
