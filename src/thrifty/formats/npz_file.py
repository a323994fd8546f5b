"""Tensors in an .npz: an archive of numpy's arrays, nothing of it compressed and nothing unpickled."""

from __future__ import annotations

import ast
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor

from thrifty.errors import BadData
from thrifty.formats.archive import plain_members
from thrifty.formats.header import ENTRY, LONGEST, Header, Kind
from thrifty.formats.numpy_arrays import array_of, entry_name, numpy_type, tensor_of
from thrifty.formats.unreadable import said_in_a_line

_VERSION_1 = b"\x93NUMPY\x01\x00"
_LONGEST_DESCRIPTION = 10_000
"""Bytes that an array takes to say its type and shape; numpy's own limit."""
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, KeyError, NotImplementedError, RuntimeError, MemoryError, SyntaxError,
               zipfile.BadZipFile, zlib.error)  # fmt: skip


def write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write tensors, each as an array NAME.npy, and the header.

    Raises:
        OSError: the disk is full or the directory cannot be written.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        # Made by hand, not by numpy.savez: that stamps the hour, and has no place for a tensor called `file`.
        archive.writestr(zipfile.ZipInfo(ENTRY), header.text())
        for name, one in tensors.items():
            with archive.open(zipfile.ZipInfo(f"{entry_name(name)}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array_of(one), allow_pickle=False)


@contextmanager
def opened(path: Path, lazily: bool = False) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """The header, and each tensor when it is asked for; sizes are held to the header before an array is made.

    Raises:
        BadData: no such file, or one that does not agree with itself.
    """
    with said_in_a_line(path, "an .npz", *_UNREADABLE), zipfile.ZipFile(path) as archive:
        members = plain_members(path, archive)
        if ENTRY not in members or members[ENTRY].file_size > LONGEST:
            raise BadData(f"{path}: is no .npz that `thrifty export` wrote (no {ENTRY} in it)")
        header = Header.parse(path, archive.read(ENTRY))
        kinds = header.stored()
        if set(members) != {ENTRY, *(f"{entry_name(name)}.npy" for name in kinds)}:
            raise BadData(f"{path}: the file was altered (its arrays are not those that its {ENTRY} lists)")
        for name, kind in kinds.items():
            _require_array(path, archive, members[f"{entry_name(name)}.npy"], kind)
        with np.load(path, allow_pickle=False) as arrays:
            yield header, lambda name: tensor_of(arrays[f"{entry_name(name)}.npy"], kinds[name])


def _require_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, kind: Kind) -> None:
    """Hold what an array says of itself to the header. Read here, as numpy mends what it cannot read."""
    with archive.open(member) as file:
        begin = file.read(len(_VERSION_1) + 2)
        length = int.from_bytes(begin[len(_VERSION_1) :], "little")
        if not begin.startswith(_VERSION_1) or length > _LONGEST_DESCRIPTION:
            raise BadData(f"{path}: {member.filename:.80} is of another version than `thrifty export` writes")
        described = ast.literal_eval(file.read(length).decode("latin-1"))
    wanted = {"descr": numpy_type(kind).str, "fortran_order": False, "shape": kind.shape}
    if described != wanted or member.file_size - len(begin) - length != kind.nbytes:
        raise BadData(f"{path}: the file was altered ({member.filename:.80} is not what its {ENTRY} says)")
