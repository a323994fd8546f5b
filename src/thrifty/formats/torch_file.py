"""Tensors in a file of `torch.save`: a dictionary of plain tensors, and the header as a text. Read with `weights_only=True` alone,
and not before its outline was found to name nothing but tensors whose numbers are there."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from thrifty.errors import BadData
from thrifty.formats.archive import plain_members
from thrifty.formats.header import ENTRY, LONGEST, Header, Kind, require_kind, require_names
from thrifty.formats.torch_outline import NotAnOutline, Stored, outline_of
from thrifty.formats.unreadable import said_in_a_line

_UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, KeyError, NotImplementedError, MemoryError, zipfile.BadZipFile, zlib.error,
               NotAnOutline)  # fmt: skip
_FOLDER = "archive/"
"""Of all members; the library looks for the outline in the folder of whichever comes first."""
OUTLINE = f"{_FOLDER}data.pkl"
"""The member of the archive that says which tensors there are."""


def write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write tensors and the header.

    Raises:
        OSError: the disk is full or the directory cannot be written.
    """
    with path.open("wb") as file:  # a file, not a path: its name would become a part of the content
        try:
            torch.save({ENTRY: header.text(), **tensors}, file)
        except RuntimeError as error:  # what the library makes of a full disk
            raise OSError(str(error).splitlines()[0]) from error


@contextmanager
def opened(path: Path, lazily: bool = False) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """The header, and each tensor when it is asked for.

    Args:
        lazily: a tensor's numbers are pages of the file; otherwise all are read first, as `torch.load` does unless told.

    Raises:
        BadData: no such file, or one that does not agree with itself.
    """
    with said_in_a_line(path, "a file of torch.save", *_UNREADABLE):
        header = _header(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
        require_names(path, header, [name for name in content if name != ENTRY])
        for name, kind in header.stored().items():
            if not isinstance(content[name], Tensor):
                raise BadData(f"{path}: '{name:.80}' is no tensor")
            require_kind(path, name, kind, Kind.of(content[name]))
    yield header, lambda name: content[name]


def _header(path: Path) -> Header:
    """The header, after everything that the file's outline names was held to it and to the members of the archive."""
    with zipfile.ZipFile(path) as archive:
        members = plain_members(path, archive)
        if OUTLINE not in members or members[OUTLINE].file_size > LONGEST:
            raise BadData(f"{path}: is no file of torch.save that `thrifty export` wrote (no {OUTLINE} in it)")
        if (stranger := next((name for name in members if not name.startswith(_FOLDER)), None)) is not None:
            raise BadData(f"{path}: {stranger:.80} in it does not lie in {_FOLDER}; `thrifty export` writes none such")
        outline = outline_of(archive.read(OUTLINE))
    text = outline.pop(ENTRY, None)
    if not isinstance(text, str):
        raise BadData(f"{path}: is no file of torch.save that `thrifty export` wrote (no {ENTRY} in it)")
    header = Header.parse(path, text)
    require_names(path, header, list(outline))
    for name, kind in header.stored().items():
        stored = outline[name]
        if not isinstance(stored, Stored):
            raise BadData(f"{path}: '{name:.80}' is no tensor")
        require_kind(path, name, kind, Kind(stored.dtype, stored.shape))
        # The library believes what the outline says of a member's size, and would read past its end.
        member = members.get(f"{_FOLDER}data/{stored.key}")
        if member is None or not member.file_size == stored.storage_bytes == kind.nbytes or not stored.without_gaps:
            raise BadData(f"{path}: the numbers of '{name:.80}' are not as many as the file says")
    return header
