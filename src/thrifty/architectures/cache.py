"""What a model of sequences remembers between tokens, and what it must offer to be run token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F


class Memory(Protocol):
    """What the attention of each block looks back at."""

    def attend(self, block: int, parts: Tensor) -> Tensor:
        """Attention of the next tokens over all before them, and over themselves in one direction.

        Args:
            parts: queries, keys and values of the next tokens, (3, batch, heads, time, head width).

        Returns:
            (batch, heads, time, head width).
        """
        ...


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

    def attend(self, block: int, parts: Tensor) -> Tensor:
        """As `Memory` has it, for a whole prompt where nothing was before, or for one token; keeps what is new in its place."""
        _, batch, heads, time, width = parts.shape
        if len(self.kept) == block:  # not sooner: only now is it known what type the run's precision computes in
            self.kept.append(parts.new_empty(2, batch, heads, self.context, width))
        end = self.length + time
        self.kept[block][:, :, :, self.length : end] = parts[1:]
        keys, values = self.kept[block][:, :, :, :end]
        # A single token sees all before it, and torch would align a causal mask of one row with the first of them.
        return F.scaled_dot_product_attention(parts[0], keys, values, is_causal=time > 1)


class FixedMemory:
    """A memory whose sizes never change and which is never written to, as programs made of a graph need it.

    Args:
        kept: as a `Cache` has it; what lies at `position` or behind it must be finite, and counts for nothing.
        position: of the first of the next tokens, int64 (1,).
    """

    def __init__(self, kept: Sequence[Tensor], position: Tensor) -> None:
        self.kept, self.position = kept, position
        self.new: list[Tensor] = []
        """Keys and values of the next tokens, one for each block: (2, batch, heads, time, head width)."""

    def attend(self, block: int, parts: Tensor) -> Tensor:
        """As `Memory` has it, for any number of tokens."""
        query, keys, values = parts
        self.new.append(parts[1:])
        old_keys, old_values = self.kept[block]
        time, context = query.shape[2], old_keys.shape[2]
        places = torch.arange(time, device=query.device)
        # Not put behind each other: that would copy all that is kept for every token.
        before = (query @ old_keys.transpose(2, 3)).masked_fill(
            torch.arange(context, device=query.device) >= self.position, float("-inf")
        )
        among = (query @ keys.transpose(2, 3)).masked_fill(places > places[:, None], float("-inf"))
        weights = torch.softmax(torch.cat([before, among], dim=3) * query.shape[3] ** -0.5, dim=3)
        weights = weights.to(values.dtype)
        return weights[..., :context] @ old_values + weights[..., context:] @ values


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


@runtime_checkable
class Extendable(Decoder, Protocol):
    """One that also does so with a memory of the caller's."""

    def extended(self, tokens: Tensor, places: Tensor, memory: Memory) -> Tensor:
        """The next tokens (batch, time), at these places, int64 (time,) -> logits of the one after them (batch, vocabulary)."""
        ...
