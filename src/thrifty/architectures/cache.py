"""What a model of sequences remembers between tokens, and what it must offer to be run token by token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass
class Cache:
    """Keys and values of the tokens seen so far, so that the next token costs the work of one position."""

    batch: int
    context: int
    """Tokens there is room for."""
    kept: list[Tensor] = field(default_factory=list)
    """One for each block: (keys and values, batch, heads, context, head width); beyond `length` it holds anything."""
    length: int = 0
    """Tokens seen. May be set back, to go on from an earlier position."""

    def extended(self, block: int, keys_and_values: Tensor) -> Tensor:
        """What a block has kept, with those of the next tokens, (2, batch, heads, time, head width), written behind it."""
        end = self.length + keys_and_values.shape[3]
        kept = self.kept[block]
        kept[:, :, :, self.length : end] = keys_and_values
        return kept[:, :, :, :end]


@runtime_checkable
class Decoder(Protocol):
    """A model that answers a prompt once and then each further token from its cache."""

    context: int

    def prefill(self, tokens: Tensor) -> tuple[Tensor, Cache]:
        """A prompt (batch, time) -> logits of the token after it (batch, vocabulary), and the cache to go on with."""
        ...

    def decode(self, token: Tensor, cache: Cache) -> Tensor:
        """The next token (batch, 1) -> logits of the one after it (batch, vocabulary); the cache is one token longer then."""
        ...
