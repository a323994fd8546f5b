"""Files compressed whole, as one zstd frame that says how much it holds. Both ways in pieces."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from thrifty.errors import BadData
from thrifty.formats.header import require_memory
from thrifty.formats.unreadable import said_in_a_line

MAGIC = b"\x28\xb5\x2f\xfd"
LEVEL = 3
"""The library's own default: higher ones take several times as long for a percent on weights."""
_PIECE = 2**20
_WINDOW = 2**23
"""The most that unpacking holds in memory, whatever a frame asks for; this level's own is 2 MiB."""
_LONGEST_FRAME_HEADER = 18


def compress(source: Path, target: Path) -> None:
    """Write a file compressed.

    Raises:
        OSError: the disk is full or the directory cannot be written.
    """
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=True)
    with source.open("rb") as plain, target.open("wb") as packed:
        compressor.copy_stream(plain, packed, size=source.stat().st_size, read_size=_PIECE, write_size=_PIECE)


@contextmanager
def decompressed(path: Path) -> Iterator[Path]:
    """The file that was compressed, in a directory for passing things that is gone afterwards.

    Raises:
        BadData: altered or truncated, of more bytes than it tells, or of more than the disk or the memory here hold.
    """
    with tempfile.TemporaryDirectory(prefix="thrifty-") as scratch:
        plain = Path(scratch) / "plain"
        with said_in_a_line(path, "a zstd file", OSError, zstandard.ZstdError, MemoryError):
            _decompress(path, plain)
        yield plain


def _decompress(path: Path, plain: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(_LONGEST_FRAME_HEADER)
        size = zstandard.get_frame_parameters(begin).content_size
        if size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
            raise BadData(f"{path}: does not tell how much it holds; `thrifty export` writes no such file")
        require_memory(path, size)
        free = shutil.disk_usage(plain.parent).free
        if size > free:
            raise BadData(
                f"{path}: claims to hold {size / 2**30:.3g} GiB, and {plain.parent} has {free / 2**30:.3g} GiB free; "
                "free some space or set TMPDIR to where there is more"
            )
        if _end_of_frame(file, begin) != path.stat().st_size:
            raise BadData(
                f"{path}: does not end where its frame does; it was truncated, or something was added: export it again"
            )
        file.seek(0)
        done = 0
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(file) as reader, plain.open("wb") as target:
            while piece := reader.read(_PIECE):
                done += len(piece)
                if done > size:
                    raise BadData(f"{path}: holds more than the {size} bytes that it tells of; it is not one to trust")
                target.write(piece)
    if done != size:
        raise BadData(f"{path}: holds {done} bytes and tells of {size}; it was truncated: export it again")


def _end_of_frame(file: BinaryIO, begin: bytes) -> int:
    """Where the frame that a file begins with ends, check sum included: unpacking alone does not miss the last bytes.

    Source: RFC 8878, sections 3.1.1.2 and 3.1.1.3.
    """
    place, last = zstandard.frame_header_size(begin), False
    while not last:
        file.seek(place)
        block = file.read(3)
        if len(block) < 3:
            return place + 3
        header = int.from_bytes(block, "little")
        last, repeated = bool(header & 1), (header >> 1) & 3 == 1
        place += 3 + (1 if repeated else header >> 3)
    return place + (4 if zstandard.get_frame_parameters(begin).has_checksum else 0)
