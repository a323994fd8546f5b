"""How small a model's weights become in memory, and to a compressor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import zstandard
from torch import nn

from thrifty.formats import safetensors, zstd
from thrifty.metrics import measured


def packed_sizes(run: Path, model: nn.Module) -> dict[str, Any]:
    """`size/file_zstd_mib` and `size/memory_mib` of a run whose weights are saved.

    Args:
        run: its directory.
        model: with those weights.
    """
    compressor, size = zstandard.ZstdCompressor(level=zstd.LEVEL, threads=0), 0
    with (run / safetensors.WEIGHTS).open("rb") as file:
        for piece in compressor.read_to_iter(file):
            size += len(piece)
    held = sum(one.nbytes for one in safetensors.tensors_of(model).values())
    return {"size/file_zstd_mib": measured(size / 2**20), "size/memory_mib": measured(held / 2**20)}
