"""Tensors in a safetensors file of their own, the header in its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thrifty.errors import BadData
from thrifty.formats.header import ENTRY, Header, Kind, require_kind, require_names
from thrifty.formats.unreadable import said_in_a_line


def write(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write tensors and the header.

    Raises:
        OSError: the disk is full or the directory cannot be written.
    """
    try:
        save_file(tensors, path, {ENTRY: header.text()})
    except SafetensorError as error:
        raise OSError(str(error)) from error


@contextmanager
def opened(path: Path, lazily: bool = False) -> Iterator[tuple[Header, Callable[[str], Tensor]]]:
    """The header, and each tensor when it is asked for; its numbers are pages of the file.

    Raises:
        BadData: no such file, or one that does not agree with itself.
    """
    with said_in_a_line(path, "safetensors", OSError, SafetensorError), safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(ENTRY)
        if text is None:
            raise BadData(f"{path}: is no safetensors file that `thrifty export` wrote (no {ENTRY} in its metadata)")
        header = Header.parse(path, text)
        require_names(path, header, list(file.keys()))
        kinds = header.stored()

        def tensor(name: str) -> Tensor:
            found = file.get_tensor(name)
            require_kind(path, name, kinds[name], Kind.of(found))
            return found

        yield header, tensor
