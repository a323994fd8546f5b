"""A model of sequences as a function that remembers nothing: what engines make programs of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thrifty.architectures.cache import Extendable, FixedMemory


class Extension(nn.Module):
    """The next tokens (batch, time); then the place of the first of them, int64 (1,), and what each block has kept of those before.

    Returns the logits of the token after them (batch, vocabulary), then of each block keys and values of the next tokens, (2, batch,
    heads, time, head width), to be kept by whoever calls.
    """

    def __init__(self, model: Extendable) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, *remembered: Tensor) -> tuple[Tensor, ...]:
        """The pass; writes to nothing."""
        position, *kept = remembered
        memory = FixedMemory(kept, position)
        logits = self.model.extended(tokens, position + torch.arange(tokens.shape[1], device=tokens.device), memory)
        return (logits, *memory.new)
