"""A decoder-only transformer as GPT-2 has it.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and the code released with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.architectures.cache import Cache
from thrifty.architectures.shapes_only import shapes_only
from thrifty.config.choices.architectures import Gpt

HEAD_WIDTH = 64
INITIAL_DEVIATION = 0.02


class Attention(nn.Module):
    """Causal self-attention with heads of 64; (batch, time, width) -> (batch, time, width)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Mix each position with those before it."""
        batch, time, width = inputs.shape
        query, key, value = self.qkv(inputs).view(batch, time, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        return self.projection(mixed.transpose(1, 2).reshape(batch, time, width))

    def extend(self, inputs: Tensor, cache: Cache, block: int) -> Tensor:
        """The same for the positions behind those in the cache: a whole prompt behind none, or one token; never drops."""
        batch, time, width = inputs.shape
        parts = self.qkv(inputs).view(batch, time, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        if len(cache.kept) == block:  # not sooner: only now is it known what type the run's precision computes in
            cache.kept.append(parts.new_empty(2, batch, self.heads, cache.context, HEAD_WIDTH))
        keys, values = cache.extended(block, parts[1:])
        # A single token sees all before it, and torch would align a causal mask of one row with the first of them.
        mixed = F.scaled_dot_product_attention(parts[0], keys, values, is_causal=time > 1)
        return self.projection(mixed.transpose(1, 2).reshape(batch, time, width))


class FeedForward(nn.Module):
    """Two linear layers with a GELU between, four times as wide inside; (batch, time, width) -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expansion = nn.Linear(width, 4 * width)
        self.projection = nn.Linear(4 * width, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Transform each position by itself."""
        return self.projection(F.gelu(self.expansion(inputs), approximate="tanh"))


class Block(nn.Module):
    """Attention and feed-forward, each normed first and added to the residual stream."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream: Tensor) -> Tensor:
        """(batch, time, width) -> (batch, time, width)."""
        stream = stream + self.dropout(self.attention(self.attention_norm(stream)))
        return stream + self.dropout(self.feed_forward(self.feed_forward_norm(stream)))

    def extend(self, stream: Tensor, cache: Cache, block: int) -> Tensor:
        """The same for the positions behind those in the cache."""
        stream = stream + self.attention.extend(self.attention_norm(stream), cache, block)
        return stream + self.feed_forward(self.feed_forward_norm(stream))


class GptModel(nn.Module):
    """Tokens (batch, time), int64 -> logits of the next token (batch, time, vocabulary); `time` at most `context`."""

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.context = context
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
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

    def _extend(self, tokens: Tensor, cache: Cache) -> Tensor:
        end = cache.length + tokens.shape[1]
        stream = self.tokens(tokens) + self.positions.weight[cache.length : end]
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            stream = block.extend(stream, cache, number)
        logits = F.linear(self.norm(stream[:, -1]), self.tokens.weight)
        cache.length = end  # last, so that a pass that failed leaves the cache as it was
        return logits

    def initialise(self) -> None:
        """GPT-2's initial weights: N(0, 0.02); the projections back into the stream over sqrt(2 depth), biases 0.

        Each block adds to the stream twice, so that its variance at the top does not grow with the depth.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, (nn.Linear, nn.Embedding)):
                depth_scale = math.sqrt(2 * len(self.blocks)) if name.endswith(".projection") else 1.0
                nn.init.normal_(module.weight, std=INITIAL_DEVIATION / depth_scale)
                if isinstance(module, nn.Linear):
                    nn.init.zeros_(module.bias)


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
        # What `to_empty` does; its `empty_like` of a meta tensor imports half a second of Python first.
        state = {name: torch.empty(one.shape, dtype=one.dtype, device=device) for name, one in model.state_dict().items()}
        model.load_state_dict(state, assign=True)
        model.initialise()
    return model


def example_inputs(config: Gpt, shape: dict[str, int], batch_size: int) -> Tensor:
    """A batch of what the model takes, always the same: evenly drawn tokens, int64 (batch, context)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape["vocabulary"], (batch_size, shape["context"]), generator=generator)
