"""Weights as safetensors beside model.json, which says how to build the model and what the bytes must hash to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from thrifty.atomic import share, write_atomically, write_file_atomically
from thrifty.errors import BadData
from thrifty.formats.bitmask import load_sparse, save_sparse
from thrifty.identity import manifest_digest
from thrifty.layers.flat import flattened, put_together
from thrifty.store import MANIFEST, read_json

WEIGHTS, SPARSE = "model.safetensors", "model.sparse.safetensors"


def save(directory: Path, model: nn.Module, manifest: dict[str, Any], sparse: bool = False) -> int:
    """Write the weights and the manifest, weights first.

    Args:
        sparse: write them a second time as a file that leaves zeros out, which `load` takes where the other is gone.

    Tensors that share memory (tied layers) are written once, under their first name.

    Returns:
        Bytes of the weights file.

    Raises:
        BadData: the disk is full or the directory cannot be written; nothing half-written is left.
    """
    return save_tensors(directory, tensors_of(model), manifest, sparse)


def save_tensors(directory: Path, tensors: dict[str, torch.Tensor], manifest: dict[str, Any], sparse: bool = False) -> int:
    """The same for what `tensors_of` told of a model."""
    path = directory / WEIGHTS
    try:
        write_file_atomically(path, lambda temporary: _write(tensors, temporary))
        manifest = {**manifest, "weights": _described(path)}
        if sparse:
            save_sparse(directory / SPARSE, tensors)
            manifest["sparse"] = _described(directory / SPARSE)
        manifest["sha256"] = manifest_digest(manifest)
        write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    except (OSError, SafetensorError) as error:
        for one in (path, directory / SPARSE):
            one.unlink(missing_ok=True)
        raise BadData(f"{path}: the weights cannot be written ({error}); free some space or give another store=DIR") from error
    return int(manifest["weights"]["bytes"])


def _described(path: Path) -> dict[str, Any]:
    return {"file": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """What a weights file holds of a model, on the CPU: shared tensors once, under their first name, and quantised ones in parts."""
    return {name: one.detach().cpu().contiguous() for name, one in flattened(_unshared(model)).items()}


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest, held to its own hash: a class or a scale altered in it would alter every prediction in silence.

    Raises:
        BadData: missing, altered or truncated.
    """
    path = directory / MANIFEST
    manifest = read_json(path)
    if manifest.get("sha256") != manifest_digest(manifest):
        raise BadData(f"{path}: the file was altered (its hash is not the one it holds); train again")
    return manifest


def load(directory: Path, manifest: dict[str, Any], model: nn.Module, device: torch.device) -> None:
    """Fill a model built on the meta device with the weights, after holding the file to its hash.

    Raises:
        BadData: missing, altered or truncated file, or weights of another shape.
    """
    path, tensors = read_tensors(directory, manifest, device)
    wanted = _unshared(model)
    outline = {name: (tuple(one.shape), one.dtype) for name, one in flattened(wanted).items()}
    if {name: (tuple(one.shape), one.dtype) for name, one in tensors.items()} != outline:
        raise BadData(f"{path}: its weights do not fit the model that {MANIFEST} describes")
    tensors = put_together(wanted, tensors)
    shared = {name: one for name, one in model.state_dict(keep_vars=True).items() if name not in wanted}
    owners = {id(one): name for name, one in wanted.items()}
    for name, one in shared.items():
        tensors[name] = tensors[owners[id(one)]]
    ties = {name: owners[id(one)] for name, one in shared.items()}
    model.load_state_dict(tensors, assign=True)
    _tie_again(model, ties)


def read_tensors(directory: Path, manifest: dict[str, Any], device: torch.device) -> tuple[Path, dict[str, torch.Tensor]]:
    """The file that holds a run's weights, and what is in it, held to its hash.

    Raises:
        BadData: missing, altered or truncated.
    """
    path, described = directory / WEIGHTS, manifest["weights"]
    if not path.is_file() and "sparse" in manifest:
        path, described = directory / SPARSE, manifest["sparse"]
    if not path.is_file():
        raise BadData(f"{path}: there is no such file; the run kept no weights, or they were removed")
    if sha256(path) != described["sha256"]:
        raise BadData(f"{path}: the file was altered or truncated (its hash is not the one in {MANIFEST}); train again")
    try:
        if path.name == SPARSE:
            return path, {name: one.to(device) for name, one in load_sparse(path).items()}
        return path, load_file(path, device=str(device))
    except SafetensorError as error:
        raise BadData(f"{path}: holds no weights ({error}); train again") from error


def _write(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(tensors, path)
    share(path)


def _unshared(model: nn.Module) -> dict[str, torch.Tensor]:
    seen: set[int] = set()
    kept = {}
    for name, one in model.state_dict(keep_vars=True).items():
        if id(one) not in seen:
            seen.add(id(one))
            kept[name] = one
    return kept


def _tie_again(model: nn.Module, ties: dict[str, str]) -> None:
    """`assign=True` makes a parameter of its own for each name; make the tied ones one again."""
    for name, owner in ties.items():
        module_name, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(module_name), leaf, model.get_parameter(owner))


def sha256(path: Path) -> str:
    """sha256 of a file in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
