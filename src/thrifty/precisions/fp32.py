"""32-bit floating point throughout."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from thrifty.config.choices import precisions
from thrifty.precisions.base import NOTHING, Precision
from thrifty.precisions.float32_products import Float32Products


class Fp32(Precision):
    """No casts."""

    name = "fp32"
    matmul_dtype = torch.float32

    def __init__(self) -> None:
        super().__init__()
        self._products = Float32Products(tf32=False)

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """One that does nothing, the same for every pass: a switched-off autocast costs time on each. On CUDA it keeps TF32 out."""
        return self._products if device_type == "cuda" else NOTHING

    def backward_context(self, device_type: str) -> AbstractContextManager[Any]:
        """The same."""
        return self.context(device_type)

    def unsupported(self, device_type: str) -> str | None:
        """Never."""
        return None


def build(config: precisions.Precision) -> Precision:
    """The precision a configuration names."""
    return Fp32()
