"""How small a model's weights become as files that know of zeros."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import zstandard
from torch import nn

from thrifty.formats import safetensors
from thrifty.formats.bitmask import save_sparse
from thrifty.metrics import measured

ZSTD_LEVEL = 3
"""The library's own default: higher ones take several times as long for a percent on weights."""


def compressed_sizes(run: Path, model: nn.Module) -> dict[str, Any]:
    """`size/file_zstd_mib`, `size/file_sparse_mib` and `size/memory_mib` of a run whose weights are saved.

    Args:
        run: its directory.
        model: with those weights.
    """
    content = (run / safetensors.WEIGHTS).read_bytes()
    packed = len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content))
    with tempfile.TemporaryDirectory(dir=run, prefix=".") as scratch:
        sparse = save_sparse(Path(scratch) / "sparse.safetensors", safetensors.tensors_of(model))
    return {
        "size/file_zstd_mib": measured(packed / 2**20),
        "size/file_sparse_mib": measured(sparse / 2**20),
        "size/memory_mib": measured(sum(one.nbytes for one in safetensors.tensors_of(model).values()) / 2**20),
    }
