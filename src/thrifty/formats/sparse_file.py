"""Tensors in the file that leaves zeros out (`bitmask.py`), the header beside what that keeps of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from thrifty.errors import BadData
from thrifty.formats.bitmask import load_sparse, read_note, save_sparse
from thrifty.formats.header import ENTRY, Header, Kind, require_kind, require_names


def write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write tensors and the header.

    Raises:
        BadData: the disk is full or the directory cannot be written.
    """
    save_sparse(path, tensors, header.text())


@contextmanager
def opened(path: Path, lazily: bool = False) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """The header, and each tensor when it is asked for; all were read before, as the check sum is that of the whole file.

    Raises:
        BadData: no such file, or one that does not agree with itself.
    """
    note = read_note(path)
    if note is None:
        raise BadData(f"{path}: is no sparse file that `thrifty export` wrote (no {ENTRY} in its metadata)")
    header = Header.parse(path, note)
    tensors = load_sparse(path)
    require_names(path, header, list(tensors))
    for name, kind in header.stored().items():
        require_kind(path, name, kind, Kind.of(tensors[name]))
    yield header, lambda name: tensors[name]
