"""What a trained model depends on besides its configuration: the code that trains, and the data's files. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
_READING = ("tasks",)
_EXPORTING = ("architectures", "engines", "layers")
_TRAINING = (
    "architectures",
    "layers",
    "methods",
    "optimizers",
    "precisions",
    "pruners",
    "quantizers",
    "schedules",
    "tasks",
    "config/choices",
    "config/resolve.py",
)
"""Of our package, all that decides what weights come out of a training."""


def manifest_digest(manifest: dict[str, Any]) -> str:
    """sha256, in hex, of a model's manifest without its own."""
    rest = {key: value for key, value in json.loads(json.dumps(manifest)).items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@cache
def training_code() -> str:
    """sha256, in hex, of the source that trains and compresses, and of the versions of what it computes with."""
    return _source(_TRAINING, ("torch", "torchao", "torch-pruning"))


@cache
def exporting_code() -> str:
    """sha256, in hex, of the source that turns a model into an engine's file, and of the version of torch."""
    return _source(_EXPORTING, ("torch",))


@cache
def reading_code() -> str:
    """sha256, in hex, of the source that reads data and of the versions of what it decodes with."""
    return _source(_READING, ("numpy", "pillow"))


def _source(places: tuple[str, ...], packages: tuple[str, ...]) -> str:
    found = hashlib.sha256(" ".join(map(importlib.metadata.version, packages)).encode())
    for place in places:
        path = _PACKAGE / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            found.update(f"{file.relative_to(_PACKAGE)}\0".encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def data_stamp(path: str | None) -> str:
    """Changes when a file of the data does: names, sizes and times, which take no time to read, hashed; of built-in data a word.

    What the data's own hash is, the run finds out when it reads it.
    """
    if path is None:
        return "built in"
    root, found = Path(path).expanduser(), hashlib.sha256()
    files = sorted(one for one in root.rglob("*") if one.is_file()) if root.is_dir() else [root]
    for file in files:
        try:
            status = file.stat()
        except OSError:  # whoever reads it tells
            continue
        found.update(
            f"{file.relative_to(root) if file != root else file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode()
        )
    return found.hexdigest()
