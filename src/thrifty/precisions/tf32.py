"""TF32: 32-bit numbers, multiplied with 11 bits of mantissa on the tensor cores of NVIDIA GPUs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from thrifty.config.choices import precisions
from thrifty.precisions.base import Precision
from thrifty.precisions.float32_products import Float32Products

_FIRST_CAPABILITY = 8
"""Of the generation (Ampere) that has it. Source: NVIDIA, "A100 Tensor Core GPU Architecture", 2020."""


class Tf32(Precision):
    """The range of fp32, products with the mantissa of fp16; nothing is cast, so memory stays that of fp32."""

    name = "tf32"
    matmul_dtype = torch.float32

    def __init__(self) -> None:
        super().__init__()
        self._products = Float32Products(tf32=True)

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """A mode of the whole process, as long as it lasts."""
        return self._products

    def backward_context(self, device_type: str) -> AbstractContextManager[Any]:
        """The same: a mode is looked at when a product is made, and gradients are products too."""
        return self._products

    def unsupported(self, device_type: str) -> str | None:
        """All but NVIDIA's GPUs since Ampere."""
        if device_type != "cuda":
            return f"precision=tf32: a mode of NVIDIA GPUs, which device={device_type} has not; use precision=fp32 or precision=bf16"
        if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] < _FIRST_CAPABILITY:
            return f"precision=tf32: {torch.cuda.get_device_name()} is older than TF32; use precision=fp32"
        return None


def build(config: precisions.Precision) -> Precision:
    """The precision a configuration names."""
    return Tf32()
