"""What every precision gives: one context for every forward pass, and the dtype of the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import nn

NOTHING = nullcontext()


class Precision(ABC):
    """A precision as the rest of the program sees it."""

    name: str
    """As in `precision=NAME`."""
    matmul_dtype: torch.dtype
    """What matrix products compute in: which of a device's ceilings applies."""
    scales_losses: ClassVar[bool] = False
    """Whether gradients would underflow unless the loss is scaled up before them."""

    def __init__(self, weight_dtype: torch.dtype = torch.float32) -> None:
        self.weight_dtype = weight_dtype
        """What the weights are kept in between steps; whoever builds the model casts it."""

    @abstractmethod
    def context(self, device_type: str) -> AbstractContextManager[Any]:
        """What a forward pass runs in, be it of training, evaluation, prediction or timing.

        Enter it once for each forward pass: autocast keeps the weights it has cast until it is left, so that in a context
        around several optimiser steps every step after the first would see old weights.
        """

    def backward_context(self, device_type: str) -> AbstractContextManager[Any]:
        """What gradients are computed in: as a rule nothing, as autocast's casts are remembered by the graph."""
        return NOTHING

    def prepared(self, model: nn.Module, device_type: str) -> nn.Module:
        """A model whose layers compute in this precision, where a context is not enough; names of weights stay as they are."""
        return model

    def unsuited(self, model: nn.Module) -> str | None:
        """Why a model has nothing that would compute in it, in one line with what to do instead; None where it has."""
        return None

    def about(self, model: nn.Module) -> str | None:
        """What of a model computes in it, a sentence for the record; None where that is as for every model."""
        return None

    @abstractmethod
    def unsupported(self, device_type: str) -> str | None:
        """Why a device (`cpu`, `cuda`, `mps`) cannot run it, in one line with what to do instead; None where it can."""
