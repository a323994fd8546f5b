"""float16 for matrix products, 32 bits where sums need them, as torch.autocast has it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from thrifty.config.choices import precisions
from thrifty.precisions.base import Precision


class Fp16(Precision):
    """11 bits of mantissa in a range so narrow that gradients must be scaled into it."""

    name = "fp16"
    matmul_dtype = torch.float16
    scales_losses = True

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """Autocast."""
        return torch.autocast(device_type, torch.float16)

    def unsupported(self, device_type: str) -> str | None:
        """CPUs, as a rule without such arithmetic; and Macs, where scaling losses has not been tried."""
        if device_type == "cpu":
            return (
                "precision=fp16: products are tens to hundreds of times slower than fp32 on CPUs without such arithmetic "
                "(`thrifty doctor` measures both); use precision=bf16"
            )
        if device_type == "mps":
            return "precision=fp16: its loss scaling has not been tried on device=mps; use precision=bf16"
        return None


def build(config: precisions.Precision) -> Precision:
    """The precision a configuration names."""
    return Fp16()
