"""A decoder-only transformer as GPT-2 has it.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and the code released with it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.architectures.cache import Cache, Memory
from thrifty.architectures.shapes_only import given_memory, shapes_only
from thrifty.architectures.transformer import Block, initialise
from thrifty.config.choices.architectures import Gpt


class GptModel(nn.Module):
    """Tokens (batch, time), int64 -> logits of the next token (batch, time, vocabulary); `time` at most `context`."""

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, dropout, causal=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the token after each position.

        Raises:
            ValueError: more positions than the context has.
        """
        time = tokens.shape[1]
        if time > self.context:
            raise ValueError(f"{time} tokens: the context holds {self.context}")
        stream = self.dropout(self.tokens(tokens) + self.positions.weight[:time])
        for block in self.blocks:
            stream = block(stream)
        # The output layer is the embedding itself, not a module that shares its tensor: so the weight is one parameter to
        # optimisers, one entry in the file, and nothing can untie it.
        return F.linear(self.norm(stream), self.tokens.weight)

    @torch.inference_mode()
    def prefill(self, tokens: Tensor) -> tuple[Tensor, Cache]:
        """A prompt (batch, time) -> logits of the token after it (batch, vocabulary), and the cache to go on with.

        As in evaluation mode: never drops, and leaves nothing to differentiate.

        Raises:
            ValueError: no token, or more than the context holds.
        """
        batch, time = tokens.shape
        if not 1 <= time <= self.context:
            raise ValueError(f"{time} tokens: a prompt has at least one, and the context holds {self.context}")
        cache = Cache(batch, self.context)
        return self._extend(tokens, cache), cache

    @torch.inference_mode()
    def decode(self, token: Tensor, cache: Cache) -> Tensor:
        """The next token (batch, 1) -> logits of the one after it (batch, vocabulary); the cache is one token longer then.

        Raises:
            ValueError: the context is full, or not one token for each sequence in the cache.
        """
        if cache.length >= self.context:
            raise ValueError(f"the context is full: it holds {self.context} tokens")
        if token.shape != (cache.batch, 1):
            raise ValueError(
                f"tokens shaped {tuple(token.shape)}: the cache takes ({cache.batch}, 1), the next of each sequence"
            )
        return self._extend(token, cache)

    def extended(self, tokens: Tensor, places: Tensor, memory: Memory) -> Tensor:
        """The next tokens (batch, time), at these places, int64 (time,) -> logits of the one after them (batch, vocabulary)."""
        stream = self.tokens(tokens) + self.positions(places)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            stream = block.extend(stream, memory, number)
        return F.linear(self.norm(stream[:, -1]), self.tokens.weight)

    def _extend(self, tokens: Tensor, cache: Cache) -> Tensor:
        end = cache.length + tokens.shape[1]
        logits = self.extended(tokens, torch.arange(cache.length, end, device=tokens.device), cache)
        cache.length = end  # last, so that a pass that failed leaves the cache as it was
        return logits


def build(config: Gpt, shape: dict[str, int], dropout: float) -> nn.Module:
    """A model with fresh weights on torch's default device; on `meta` it costs nothing.

    Args:
        config: `width` and `depth` are resolved.
        shape: `vocabulary`, and `context` in tokens.
        dropout: share of activations dropped while training, after the embeddings, in attention and after each branch.
    """
    assert config.width is not None
    assert config.depth is not None
    device = torch.get_default_device()
    # torch's modules draw their own initial weights, several times dearer than ours.
    with shapes_only():
        model = GptModel(shape["vocabulary"], shape["context"], config.width, config.depth, dropout)
    if device.type != "meta":
        initialise(given_memory(model, device), config.depth)
    return model


def example_inputs(config: Gpt, shape: dict[str, int], batch_size: int) -> Tensor:
    """A batch of what the model takes, always the same: evenly drawn tokens, int64 (batch, context)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape["vocabulary"], (batch_size, shape["context"]), generator=generator)
