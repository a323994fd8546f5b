"""Whether an engine predicts what PyTorch itself does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thrifty.errors import Unsupported
from thrifty.metrics import measured

BOUNDS = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2, "fp8": 1e-1}
"""Largest relative error by precision: sums in another order, and roundings that a fusion leaves out."""
BOUND_OF_INTEGERS = 2e-1
"""The same of a quantised model: an engine may choose its scales in another way, as by one for all rows, which costs some 2 % (8 bits)."""


class Agreement:
    """Holds an engine's outputs to those of PyTorch, as they come.

    Args:
        engine, precision: by name.
        quantised: whether the model has integers.
    """

    def __init__(self, engine: str, precision: str, quantised: bool) -> None:
        self.engine = engine
        self.bound = max(BOUNDS[precision], BOUND_OF_INTEGERS if quantised else 0.0)
        self.largest: list[float] = []
        self.relative: list[float] = []

    def tell(self, found: Tensor, expected: Tensor) -> None:
        """One batch of outputs by both.

        Raises:
            Unsupported: they differ by more than they may, or are not of one shape.
        """
        if found.shape != expected.shape:
            raise Unsupported(
                f"engine={self.engine}: its outputs are shaped {list(found.shape)} and PyTorch's {list(expected.shape)}; its speed is not "
                "told; take engine=eager"
            )
        difference = (found.double() - expected.double()).cpu()
        scale = expected.double().pow(2).mean().sqrt().cpu().clamp_min(torch.finfo(torch.float32).tiny)
        relative = float(difference.pow(2).mean().sqrt() / scale)
        self.largest.append(float(difference.abs().max()))
        self.relative.append(relative)
        if not relative <= self.bound:  # nor where it is no number
            raise Unsupported(
                f"engine={self.engine}: its outputs differ from PyTorch's by {100 * relative:.3g} % of their size, more than the "
                f"{100 * self.bound:g} % that rounding explains; its speed is not told; take engine=eager"
            )

    def metrics(self) -> dict[str, Any]:
        """As the record has them; none where nothing was compared."""
        if not self.largest:
            return {}
        return {
            "infer/max_error": measured(max(self.largest), n=len(self.largest)),
            "infer/relative_error": measured(max(self.relative), n=len(self.relative)),
        }
