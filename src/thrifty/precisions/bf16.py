"""bfloat16 for matrix products, 32 bits where sums need them, as torch.autocast has it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from thrifty.config.choices import precisions
from thrifty.precisions.base import Precision


class Bf16(Precision):
    """The range of fp32 with 8 bits of mantissa, so that gradients need no scaling."""

    name = "bf16"
    matmul_dtype = torch.bfloat16

    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """Autocast, also around bfloat16 weights: norms and losses keep their 32 bits."""
        return torch.autocast(device_type, torch.bfloat16)

    def unsupported(self, device_type: str) -> str | None:
        """GPUs that would emulate it, and Macs whose Metal has no bfloat16."""
        if device_type == "cuda" and torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
            return f"precision=bf16: {torch.cuda.get_device_name()} has no bfloat16 arithmetic; use precision=fp32"
        if device_type == "mps" and torch.backends.mps.is_available() and not torch.backends.mps.is_macos_or_newer(14, 0):
            return "precision=bf16: needs macOS 14 or newer on device=mps; use precision=fp32"
        return None


def build(config: precisions.Bf16) -> Precision:
    """The precision a configuration names."""
    halved = config.weights is precisions.WeightType.bf16
    return Bf16(torch.bfloat16 if halved else torch.float32)
