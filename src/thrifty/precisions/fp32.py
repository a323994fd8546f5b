"""32-bit floating point throughout."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from thrifty.config.choices import precisions
from thrifty.precisions.base import NOTHING, Precision


class Fp32(Precision):
    """No casts."""

    name = "fp32"
    matmul_dtype = torch.float32

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """One that does nothing, the same for every pass: a switched-off autocast costs time on each."""
        return NOTHING

    def unsupported(self, device_type: str) -> str | None:
        """Never."""
        return None


def build(config: precisions.Precision) -> Precision:
    """The precision a configuration names."""
    return Fp32()
