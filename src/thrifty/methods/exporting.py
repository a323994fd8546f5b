"""A run's weights to a file by themselves, and back to a directory that a model is loaded from."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thrifty.atomic import sync_directory
from thrifty.errors import BadConfiguration, BadData
from thrifty.formats import safetensors
from thrifty.formats.exported import read_export, write_export
from thrifty.methods.model import load_trained
from thrifty.store import MANIFEST

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    bytes: int
    ratio: float
    """To the run's model.safetensors."""


def export_run(run: Path, name: str, path: Path) -> Exported:
    """Write the weights of a run's directory, and model.json with them.

    Args:
        name: of format and packing, as in `thrifty.formats.registry.ALL`.

    Raises:
        BadData: weights that are missing or altered, or a file that cannot be written.
        Unsupported: the format's library is not installed.
    """
    manifest, tensors = weights_of(run)
    size = write_export(path, name, tensors, manifest)
    return Exported(path, size, size / manifest["weights"]["bytes"])


def weights_of(run: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Manifest and weights of a run's directory, held to their hashes.

    Raises:
        BadData: missing or altered.
    """
    manifest = safetensors.read_manifest(run)
    try:
        return manifest, safetensors.read_tensors(run, manifest, CPU)[1]
    except (KeyError, TypeError, AttributeError) as error:
        raise BadData(f"{run / MANIFEST}: is not a manifest of ours, or was altered ({error})") from error


def run_from(file: Path, directory: Path) -> int:
    """Make a directory with the weights and model.json that a file holds; returns how many tensors.

    The model is built of them before the directory takes its name.

    Raises:
        BadConfiguration: there is something in the directory.
        BadData: a file that is not one of `export_run`'s, or was altered; a directory that cannot be written. Nothing is left.
        Unsupported: the format's library is not installed.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadConfiguration(f"--to-run {directory}: is there already; give a directory that is empty, or none yet")
    if not directory.parent.is_dir():
        raise BadData(f"--to-run {directory}: there is no folder {directory.parent}; make it, or give another")
    manifest, tensors = read_export(file)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        safetensors.save_tensors(temporary, tensors, manifest)
        model = load_trained(temporary, CPU).module
        if "sparse" in manifest:  # it keeps the model's order, and would be another file in that of model.safetensors
            in_order = {name: tensors[name] for name in safetensors.tensors_of(model)}
            safetensors.save_tensors(temporary, in_order, manifest, sparse=True)
        temporary.rename(directory)
        sync_directory(directory.parent)
    except OSError as error:
        raise BadData(f"{directory}: cannot be written ({error.strerror}); free some space or give another --to-run") from error
    except BadData as error:
        raise BadData(f"{file}: {error}".replace(f"{temporary}{os.sep}", "")) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(tensors)
