"""Tensors with many zeros in a file of their own size: a bit for each number, and the numbers that are not zero.

A safetensors file. A tensor that would be larger this way lies in it as it is, under its own name; any other as two:
`NAME#bitmask`, uint8, bit i % 8 of byte i // 8 set where number i in the order of rows is not zero, and `NAME#values`, these
numbers in order. Zero is what has no bit set, so that -0 and NaN come back as they were. The metadata says the format's version,
every tensor's type and shape, and a check sum.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from thrifty.atomic import share, write_file_atomically
from thrifty.errors import BadData
from thrifty.formats.header import require_memory

VERSION = 1
_KEY = "thrifty.bitmask"
"""Of the metadata. One entry only: the library writes several in no certain order, and a file's hash would change with it."""
_MASK, _VALUES = "#bitmask", "#values"
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers to see a number's bits as, by its size in bytes."""
_HEADER_BYTES = 128
"""About what another tensor takes in the file's header."""


def save_sparse(path: Path, tensors: dict[str, Tensor], note: str | None = None) -> int:
    """Write tensors, each in whichever way is smaller; returns the bytes of the file.

    Args:
        note: a text that is kept with them, not covered by the check sum.

    The tensors come back to the bit. Those that share memory are written once for each name.

    Raises:
        BadData: the disk is full or the directory cannot be written; nothing half-written is left.
        ValueError: a name that ends in `#bitmask` or `#values`.
    """
    outline: dict[str, dict[str, Any]] = {}
    parts: dict[str, Tensor] = {}
    for name, one in tensors.items():
        if name.endswith((_MASK, _VALUES)):
            raise ValueError(f"{name}: names that end in {_MASK} or {_VALUES} are taken")
        # A copy: the library refuses tensors that share memory.
        dense = one.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        packed = _packed(dense)
        outline[name] = {"dtype": _type_name(dense), "shape": list(dense.shape), "packed": packed is not None}
        parts.update({name: dense} if packed is None else {name + _MASK: packed[0], name + _VALUES: packed[1]})
    content = {"version": VERSION, "tensors": outline}
    content["crc32"] = _check_sum(outline, parts)
    if note is not None:
        content["note"] = note
    try:
        write_file_atomically(path, lambda temporary: _write(parts, json.dumps(content), temporary))
    except (OSError, SafetensorError) as error:
        raise BadData(
            f"{path}: the weights cannot be written ({_line(error)}); free some space or give another store=DIR"
        ) from error
    return path.stat().st_size


def read_note(path: Path) -> str | None:
    """The text that was kept with tensors; None where there is none, or the file holds other tensors than sparse ones.

    Raises:
        BadData: a file that is missing, or no safetensors file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
    except (OSError, SafetensorError) as error:
        raise BadData(f"{path}: cannot be read, or is altered or truncated ({_line(error)})") from error
    note = _content(path, metadata).get("note") if _KEY in (metadata or {}) else None
    return note if isinstance(note, str) else None


def load_sparse(path: Path) -> dict[str, Tensor]:
    """What `save_sparse` wrote, on the CPU and in its order.

    Raises:
        BadData: a file that is missing, altered or truncated, of another kind, or that does not agree with itself.
    """
    try:
        with safe_open(path, "pt") as file:
            content = _content(path, file.metadata())
            outline = content["tensors"]
            wanted = [name + end for name, about in outline.items() for end in ((_MASK, _VALUES) if about["packed"] else ("",))]
            if sorted(wanted) != sorted(file.keys()):
                raise BadData(f"{path}: the file was altered (its tensors are not those that it lists)")
            parts = {name: file.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError) as error:
        raise BadData(f"{path}: cannot be read, or is altered or truncated ({_line(error)})") from error
    if _check_sum(outline, parts) != content["crc32"]:
        raise BadData(f"{path}: the file was altered (its check sum is not the one it holds)")
    # All together, by their masks, which bound what each can be: masks of zeros pack well, and each might fit by itself.
    packed = [name for name, about in outline.items() if about["packed"]]
    require_memory(path, sum(8 * parts[name + _MASK].numel() * parts[name + _VALUES].element_size() for name in packed))
    return {name: _tensor(path, name, about, parts) for name, about in outline.items()}


def _packed(dense: Tensor) -> tuple[Tensor, Tensor] | None:
    """Bit mask and values, or None where they are no smaller."""
    size = dense.element_size()
    if size not in _BITS or dense.numel() == 0:
        return None
    numbers = dense.reshape(-1)
    present = numbers.view(_BITS[size]) != 0
    mask_bytes, kept = -(-dense.numel() // 8), int(present.sum())
    if mask_bytes + kept * size + _HEADER_BYTES >= dense.numel() * size:
        return None
    return torch.from_numpy(np.packbits(present.numpy(), bitorder="little")), numbers[present]


def _tensor(path: Path, name: str, about: dict[str, Any], parts: dict[str, Tensor]) -> Tensor:
    """One tensor, after its parts were held to what the file says of it."""
    shape = about["shape"]
    if not about["packed"]:
        one = parts[name]
        if _type_name(one) != about["dtype"] or list(one.shape) != shape:
            raise BadData(f"{path}: {name} is not of the type and shape that the file gives")
        return one
    mask, values = parts[name + _MASK], parts[name + _VALUES]
    count = math.prod(shape)
    # The mask's own bytes bound what is allocated, whatever shape is claimed.
    if mask.dtype is not torch.uint8 or mask.ndim != 1 or count == 0 or len(mask) != -(-count // 8):
        raise BadData(f"{path}: the bit mask of {name} is not that of a tensor of {shape}")
    if _type_name(values) != about["dtype"] or values.ndim != 1 or values.element_size() not in _BITS:
        raise BadData(f"{path}: the values of {name} are not of the type that the file gives")
    bits = np.unpackbits(mask.numpy(), bitorder="little")
    kept = int(bits.sum(dtype=np.int64))
    if kept != len(values) or bits[count:].any():
        raise BadData(f"{path}: the bit mask of {name} has {kept} bits set, and there are {len(values)} values")
    dense = torch.zeros(count, dtype=values.dtype)
    as_bits = _BITS[values.element_size()]
    dense.view(as_bits)[torch.from_numpy(bits[:count]).bool()] = values.view(as_bits)
    return dense.view(shape)


def _content(path: Path, metadata: dict[str, str] | None) -> dict[str, Any]:
    """The metadata, all of it of the types that are relied on."""
    try:
        content = json.loads((metadata or {})[_KEY])
    except (KeyError, ValueError, RecursionError) as error:
        raise BadData(f"{path}: is no file of sparse tensors (its metadata does not say so)") from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        raise BadData(f"{path}: its format is of version {version!r}, and this program reads {VERSION}")
    outline = content.get("tensors")
    if not isinstance(outline, dict) or not all(map(_well_formed, outline.values())) or not _whole(content.get("crc32")):
        raise BadData(f"{path}: the file was altered (its metadata is not complete)")
    return content


def _well_formed(about: Any) -> bool:
    return (
        isinstance(about, dict)
        and isinstance(about.get("dtype"), str)
        and isinstance(about.get("packed"), bool)
        and isinstance(about.get("shape"), list)
        and all(map(_whole, about["shape"]))
    )


def _whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63


def _check_sum(outline: dict[str, Any], parts: dict[str, Tensor]) -> int:
    """CRC-32 of the outline and of every part's bytes: of accidents; an intruder would make it anew."""
    total = zlib.crc32(json.dumps(outline, sort_keys=True).encode())
    for name in sorted(parts):
        total = zlib.crc32(parts[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return total


def _type_name(one: Tensor) -> str:
    return str(one.dtype).removeprefix("torch.")


def _write(parts: dict[str, Tensor], metadata: str, path: Path) -> None:
    save_file(parts, path, {_KEY: metadata})
    share(path)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
