"""Zip archives from outside: what must hold of their members before one of them is read."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path

from thrifty.errors import BadData

_ENCRYPTED = 0x1
"""Of a member's flags."""
# The end of an archive as APPNOTE 4.3.14 to 4.3.16 of PKWARE's has it: 64-bit record, its locator, record.
_RECORD_64, _LOCATOR, _RECORD = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL"), struct.Struct("<4s4H2LH")
_IN_64 = 0xFFFFFFFF
"""What stands for a number that is in the 64-bit record."""


def plain_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members by name, each as many bytes in the file as it claims to hold: a bomb is one that claims more.

    Raises:
        BadData: one is compressed, encrypted, there twice whether in capitals or not, or larger than the file; or the archive can be read in
            two ways.
    """
    _require_one_reading(path)
    members: dict[str, zipfile.ZipInfo] = {}
    size, seen = path.stat().st_size, set[str]()
    for one in archive.infolist():
        if one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size:
            raise BadData(f"{path}: {one.filename:.80} in it is compressed; `thrifty export` writes none that is")
        if one.flag_bits & _ENCRYPTED or one.filename.casefold() in seen or one.file_size > size:
            raise BadData(f"{path}: {one.filename:.80} in it is encrypted, there twice, or larger than the file")
        members[one.filename] = one
        seen.add(one.filename.casefold())
    return members


def _require_one_reading(path: Path) -> None:
    """Refuse an archive whose directory does not lie where its end says, directly before that.

    Libraries differ in what they make of such: what one has looked through is not what another reads.
    """
    try:
        with path.open("rb") as file:
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(0, whole - _RECORD_64.size - _LOCATOR.size - _RECORD.size))
            end = file.read()
        signature, *_, size, offset, comment = _RECORD.unpack(end[-_RECORD.size :])
        before, directory_end = end[: -_RECORD.size], whole - _RECORD.size
        if before[-_LOCATOR.size :].startswith(b"PK\x06\x07"):
            _, _, place, _ = _LOCATOR.unpack(before[-_LOCATOR.size :])
            directory_end -= _LOCATOR.size + _RECORD_64.size
            larger, *_, size_64, offset_64 = _RECORD_64.unpack(before[: -_LOCATOR.size])
            agree = size in (size_64, _IN_64) and offset in (offset_64, _IN_64)
            fits = larger == b"PK\x06\x06" and place == directory_end and agree
            size, offset = size_64, offset_64
        else:
            fits = True
        if fits and signature == b"PK\x05\x06" and comment == 0 and offset + size == directory_end:
            return
    except struct.error:
        pass  # shorter than an end
    raise BadData(
        f"{path}: is an archive that can be read in two ways, or one with something behind it; `thrifty export` writes none such"
    )
