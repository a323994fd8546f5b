"""What an exported file says of itself: which model it holds, which tensors, and what their bytes must hash to. JSON, read first."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thrifty.errors import BadData
from thrifty.measure.cgroup import limits
from thrifty.record import memory_mib

VERSION = 1
ENTRY = "thrifty.json"
"""What the header is called in a file, whichever its format."""
LONGEST = 64 * 2**20
"""Bytes of a header that are read."""
_MOST_DIMENSIONS = 64
"""torch's and numpy's own."""
_TYPES: dict[str, torch.dtype] = {
    str(one).removeprefix("torch."): one
    for one in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    @classmethod
    def of(cls, one: Tensor) -> Kind:
        """That of a tensor."""
        return cls(one.dtype, tuple(one.shape))


@dataclass(frozen=True)
class Header:
    """What a file says of itself. Its tensors have the header's order, whatever order the format keeps them in."""

    manifest: dict[str, Any]
    """model.json of the run that was exported."""
    tensors: dict[str, Kind]
    """As they were before they were shuffled."""
    shuffled: bool = False
    sha256: str = ""
    """Of the manifest and of all tensors with their names; in hex."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], manifest: dict[str, Any]) -> Header:
        """The header of tensors on the CPU that lie in memory without gaps.

        Raises:
            ValueError: a name or a type that no format here takes.
        """
        for name, one in tensors.items():
            if name in ("", ".", "..", ENTRY):
                raise ValueError(f"'{name}': no tensor can be called so in a file")
            if _type_name(one.dtype) not in _TYPES:
                raise ValueError(f"{name}: a tensor of {one.dtype} has no place in a file; of {', '.join(_TYPES)} it has")
        bare = cls(manifest, {name: Kind.of(one) for name, one in tensors.items()})
        return replace(bare, sha256=bare.digest(tensors))

    def digest(self, tensors: Mapping[str, Tensor]) -> str:
        """sha256, in hex, of these tensors under this header."""
        found = hashlib.sha256(json.dumps([self.manifest, self._outline()], sort_keys=True).encode())
        for name in self.tensors:
            found.update(bytes_of(tensors[name]))
        return found.hexdigest()

    def stored(self) -> dict[str, Kind]:
        """The tensors as they lie in the file."""
        return {name: shuffled_kind(kind) for name, kind in self.tensors.items()} if self.shuffled else self.tensors

    def text(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "thrifty": VERSION,
                "sha256": self.sha256,
                "shuffled": self.shuffled,
                "manifest": self.manifest,
                "tensors": self._outline(),
            }
        )

    @classmethod
    def parse(cls, path: Path, text: str | bytes) -> Header:
        """A file's header, of the types that are relied on, and of no more tensors than memory holds.

        Raises:
            BadData: anything else.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadData(f"{path}: the file was altered or truncated (its {ENTRY} is not JSON)") from error
        version = content.get("thrifty") if isinstance(content, dict) else None
        if version != VERSION:
            raise BadData(f"{path}: its {ENTRY} is of version {version!r:.40}, and this program reads {VERSION}")
        manifest, outline, is_shuffled, sha256 = (content.get(key) for key in ("manifest", "tensors", "shuffled", "sha256"))
        if not (
            isinstance(manifest, dict)
            and isinstance(outline, dict)
            and isinstance(is_shuffled, bool)
            and isinstance(sha256, str)
            and all(map(_well_formed, outline.values()))
        ):
            raise BadData(f"{path}: the file was altered (its {ENTRY} is not complete)")
        kinds = {name: Kind(_TYPES[dtype], tuple(shape)) for name, (dtype, shape) in outline.items()}
        require_memory(path, sum(one.nbytes for one in kinds.values()))
        return cls(manifest, kinds, is_shuffled, sha256)

    def _outline(self) -> dict[str, list[Any]]:
        return {name: [_type_name(one.dtype), list(one.shape)] for name, one in self.tensors.items()}


def shuffled_kind(kind: Kind) -> Kind:
    """That of the tensor of bytes that a tensor is shuffled to: (bytes of a number, numbers)."""
    return Kind(torch.uint8, (kind.dtype.itemsize, math.prod(kind.shape)))


def require_names(path: Path, header: Header, found: list[str]) -> None:
    """Hold the names that a file has to those that its header lists.

    Raises:
        BadData: they differ.
    """
    if sorted(found) != sorted(header.tensors):
        raise BadData(f"{path}: the file was altered (its tensors are not those that its {ENTRY} lists)")


def require_kind(path: Path, name: str, wanted: Kind, found: Kind) -> None:
    """Hold a tensor that a file has to what its header says of it.

    Raises:
        BadData: they differ.
    """
    if found != wanted:
        raise BadData(
            f"{path}: the file was altered ('{name:.80}' is {_type_name(found.dtype)} {list(found.shape)}, its {ENTRY} says "
            f"{_type_name(wanted.dtype)} {list(wanted.shape)})"
        )


def require_memory(path: Path, needed: int) -> None:
    """Refuse what claims more bytes than half of the memory that we may use, before anything is allocated.

    Raises:
        BadData: it does.
    """
    known = [
        one for one in (memory_mib(), limits().memory_mib) if one is not None
    ]  # a container may have less than its machine
    memory = min(known, default=None)
    if memory is not None and needed > memory * 2**20 / 2:
        raise BadData(
            f"{path}: claims to hold {needed / 2**30:.3g} GiB, more than half of the memory here ({memory / 2**10:.3g} GiB); "
            "read it on a larger machine, if you trust it"
        )


def bytes_of(one: Tensor) -> memoryview:
    """The bytes of a tensor that lies in memory without gaps."""
    return one.detach().reshape(-1).view(torch.uint8).numpy().data


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _well_formed(about: Any) -> bool:
    if not isinstance(about, list) or len(about) != 2:
        return False
    dtype, shape = about
    if not isinstance(dtype, str) or dtype not in _TYPES or not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
        return False
    return all(map(_whole, shape))


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**48
