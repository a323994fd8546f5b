"""Weights in a file by themselves, in any format and packing: written, told apart by their content, and read back to the bit."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from thrifty.atomic import share, write_file_atomically
from thrifty.errors import BadData
from thrifty.formats import hdf5_file, torch_file, zstd
from thrifty.formats.bitmask import read_note
from thrifty.formats.header import ENTRY, Header
from thrifty.formats.registry import FORMATS, Format, named
from thrifty.formats.shuffling import shuffled, unshuffled
from thrifty.formats.unreadable import in_a_line


def write_export(path: Path, name: str, tensors: dict[str, Tensor], manifest: dict[str, Any]) -> int:
    """Write tensors of any type and layout, with the manifest of the run they are from.

    Args:
        name: of format and packing, as in `registry.ALL`.

    Returns:
        Bytes of the file.

    Raises:
        BadData: the disk is full or the directory cannot be written; nothing half-written is left.
        Unsupported: the format's library is not installed.
    """
    plain = plain_tensors(tensors)
    write_file(path, name, plain, Header.of(plain, manifest))
    return path.stat().st_size


def write_file(path: Path, name: str, plain: dict[str, Tensor], header: Header) -> None:
    """The same of what `plain_tensors` gave, and its header."""
    chosen, packing = named(name)
    module, stored = chosen.load(), plain
    if packing.shuffle:
        header, stored = replace(header, shuffled=True), {key: shuffled(one) for key, one in plain.items()}

    def write(temporary: Path) -> None:
        if packing.zstd:
            before = temporary.with_name(f"{temporary.name}.plain")
            try:
                module.write(before, stored, header)
                zstd.compress(before, temporary)
            finally:
                before.unlink(missing_ok=True)
        else:
            module.write(temporary, stored, header)
        share(temporary)

    if not path.parent.is_dir():
        raise BadData(f"{path}: there is no folder {path.parent}; make it, or give another place with -o")
    try:
        write_file_atomically(path, write)
    except OSError as error:
        raise BadData(
            f"{path}: cannot be written ({in_a_line(error)}); free some space or give another place with -o"
        ) from error


def read_export(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Manifest and tensors of a file that `write_export` wrote, whatever it is called, held to their hash.

    Raises:
        BadData: altered, truncated, of another kind, or not one to trust.
        Unsupported: the format's library is not installed.
    """
    with opened(path) as (header, tensor):
        tensors = {name: tensor(name) for name in header.tensors}
        if header.digest(tensors) != header.sha256:
            raise BadData(f"{path}: the file was altered or truncated (its tensors do not hash to what its {ENTRY} says)")
    return header.manifest, tensors


@contextmanager
def opened(path: Path, lazily: bool = False) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """The header of a file, and its tensors by name as they were given to `write_export`. They are not held to their hash.

    Raises:
        BadData: of another kind, or not one to trust.
        Unsupported: the format's library is not installed.
    """
    if _begin(path).startswith(zstd.MAGIC):
        with zstd.decompressed(path) as plain, _opened(path, plain, lazily) as found:
            yield found
    else:
        with _opened(path, path, lazily) as found:
            yield found


@contextmanager
def _opened(given: Path, plain: Path, lazily: bool) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """Of a file that is not compressed; what is wrong with it is told of the one that was given."""
    try:
        with _format_of(plain).load().opened(plain, lazily) as (header, stored):

            def tensor(name: str) -> Tensor:
                return unshuffled(stored(name), header.tensors[name]) if header.shuffled else stored(name)

            yield header, tensor
    except BadData as error:
        raise BadData(str(error).replace(str(plain), str(given))) from error


def _format_of(path: Path) -> Format:
    """Told by the content: a file may have any name."""
    begin = _begin(path)
    if begin.startswith(hdf5_file.MAGIC):
        return FORMATS["hdf5"]
    if begin.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                return FORMATS["torch" if torch_file.OUTLINE in archive.namelist() else "npz"]
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise BadData(f"{path}: begins as an archive and is none ({in_a_line(error)}); export it again") from error
    return FORMATS["safetensors" if read_note(path) is None else "sparse"]


def _begin(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror})") from error


def plain_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, without gaps, each with memory of its own: torch.save writes all of a memory that is shared."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, given in tensors.items():
        one = given.detach().cpu().contiguous()
        storage = one.untyped_storage()
        if storage.nbytes() != one.nbytes or (one.nbytes and storage.data_ptr() in seen):
            one = one.clone()
        seen.add(one.untyped_storage().data_ptr())
        found[name] = one
    return found
