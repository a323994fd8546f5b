"""Zip archives from outside: what must hold of their members before one of them is read."""

from __future__ import annotations

import zipfile
from pathlib import Path

from thrifty.errors import BadData

_ENCRYPTED = 0x1
"""Of a member's flags."""


def plain_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members by name, each as many bytes in the file as it claims to hold: a bomb is one that claims more.

    Raises:
        BadData: one is compressed, encrypted, there twice, or larger than the file.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    size = path.stat().st_size
    for one in archive.infolist():
        if one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size:
            raise BadData(f"{path}: {one.filename:.80} in it is compressed; `thrifty export` writes none that is")
        if one.flag_bits & _ENCRYPTED or one.filename in members or one.file_size > size:
            raise BadData(f"{path}: {one.filename:.80} in it is encrypted, there twice, or larger than the file")
        members[one.filename] = one
    return members
