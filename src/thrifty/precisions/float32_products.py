"""How CUDA multiplies 32-bit matrices and convolves 32-bit images: exactly, or in TF32."""

from __future__ import annotations

import torch


class Float32Products:
    """Within it, products of float32 have 24 bits of mantissa, or 11 in TF32; afterwards what was in force before.

    Both are set: torch leaves convolutions in TF32 unless told otherwise, and then "fp32" would not be what it says. May be
    entered again and again, not within itself.
    """

    def __init__(self, tf32: bool) -> None:
        self._tf32 = tf32

    def __enter__(self) -> None:
        self._before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._tf32

    def __exit__(self, *exception: object) -> None:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before
