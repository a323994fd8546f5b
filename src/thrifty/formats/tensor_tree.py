"""Nested dictionaries and lists of tensors and plain values, as safetensors beside JSON. No pickle: nothing in a file can run."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from thrifty.atomic import write_atomically, write_file_atomically
from thrifty.errors import BadData
from thrifty.formats.safetensors import sha256
from thrifty.store import read_json


def save_tree(path: Path, tree: Any) -> int:
    """Write `path`.safetensors, and then `path`.json, without which it is not there; returns the bytes of both.

    Args:
        tree: dictionaries, lists, tuples, tensors of memory of their own, strings, numbers, booleans and None.

    Raises:
        OSError: the disk is full or the directory cannot be written; nothing half-written is left.
        TypeError: anything else in the tree.
    """
    tensors: dict[str, torch.Tensor] = {}
    outline = _outline(tree, tensors)
    data, index = path.with_suffix(".safetensors"), path.with_suffix(".json")
    try:
        write_file_atomically(data, lambda temporary: save_file(tensors, temporary))
    except SafetensorError as error:  # what the library makes of a full disk
        raise OSError(errno.EIO, str(error)) from error
    try:
        text = json.dumps({"schema": 1, "tensors_sha256": sha256(data), "tree": outline})
        write_atomically(index, json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": text}))
    except OSError:
        data.unlink(missing_ok=True)
        raise
    return data.stat().st_size + index.stat().st_size


def load_tree(path: Path) -> Any:
    """What `save_tree` wrote, its tensors on the CPU.

    Raises:
        BadData: a file that is missing, altered or truncated.
    """
    data, index = path.with_suffix(".safetensors"), path.with_suffix(".json")
    kept = read_json(index)
    text = kept.get("content")
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != kept.get("sha256"):
        raise BadData(f"{index}: the file was altered or truncated (its hash is not the one it holds)")
    content = json.loads(text)
    try:
        if sha256(data) != content["tensors_sha256"]:
            raise BadData(f"{data}: the file was altered or truncated (its hash is not the one in {index.name})")
        tensors = load_file(data)
    except OSError as error:
        raise BadData(f"{data}: cannot be read ({error.strerror})") from error
    except SafetensorError as error:
        raise BadData(f"{data}: holds no tensors ({error})") from error
    return _tree(content["tree"], tensors)


def _outline(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The tree as JSON can hold it; its tensors are put into `tensors`, by number."""
    match value:
        case torch.Tensor():
            name = str(len(tensors))
            tensors[name] = value.detach().cpu().contiguous()
            return {"tensor": name}
        case dict():
            return {"dict": [[key, _outline(one, tensors)] for key, one in value.items()]}
        case list() | tuple():
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [_outline(one, tensors) for one in value]}
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a file")


def _tree(outline: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if not isinstance(outline, dict):
        return outline
    ((kind, value),) = outline.items()
    match kind:
        case "tensor":
            return tensors[value]
        case "dict":
            return {key: _tree(one, tensors) for key, one in value}
        case "list":
            return [_tree(one, tensors) for one in value]
        case _:
            return tuple(_tree(one, tensors) for one in value)
