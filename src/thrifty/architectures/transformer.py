"""The transformer block as GPT-2 has it, normed first, for sequences read in one direction and for sets of patches.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, and the code released with it.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.architectures.cache import Memory

HEAD_WIDTH = 64


class Attention(nn.Module):
    """Self-attention with heads of 64, causal or over all positions; (batch, time, width) -> (batch, time, width)."""

    def __init__(self, width: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    @property
    def heads(self) -> int:
        """As many as the weights hold, so that a pruned module needs to be told nothing."""
        return self.qkv.out_features // (3 * HEAD_WIDTH)

    def forward(self, inputs: Tensor) -> Tensor:
        """Mix each position with those before it, or with every other."""
        batch, time, _ = inputs.shape
        query, key, value = self.qkv(inputs).view(batch, time, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal, dropout_p=self.dropout if self.training else 0.0
        )
        return self.projection(mixed.transpose(1, 2).flatten(2))

    def extend(self, inputs: Tensor, memory: Memory, block: int) -> Tensor:
        """The same, causal, for the positions behind those that the memory holds; never drops."""
        batch, time, _ = inputs.shape
        parts = self.qkv(inputs).view(batch, time, 3, self.heads, HEAD_WIDTH).permute(2, 0, 3, 1, 4)
        return self.projection(memory.attend(block, parts).transpose(1, 2).flatten(2))


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

    def __init__(self, width: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, dropout, causal)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream: Tensor) -> Tensor:
        """(batch, time, width) -> (batch, time, width)."""
        stream = stream + self.dropout(self.attention(self.attention_norm(stream)))
        return stream + self.dropout(self.feed_forward(self.feed_forward_norm(stream)))

    def extend(self, stream: Tensor, memory: Memory, block: int) -> Tensor:
        """The same for the positions behind those that the memory holds."""
        stream = stream + self.attention.extend(self.attention_norm(stream), memory, block)
        return stream + self.feed_forward(self.feed_forward_norm(stream))


def initialise(model: nn.Module, depth: int) -> None:
    """Fresh weights: N(0, 1 / inputs); the projections back into the stream over sqrt(2 depth), biases 0, norms 1.

    So a layer's outputs are of the size of its inputs, at any width (LeCun et al., "Efficient BackProp", 1998). GPT-2's own 0.02 is
    that at a width of 2500; at 128 it leaves a layer a quarter of its inputs' size, and most of a short training goes into mending
    it. An embedding counts its width as inputs, as it is the output layer as well. Each block adds to the stream twice, so that its
    variance at the top does not grow with the depth (as in GPT-2).
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            depth_scale = math.sqrt(2 * depth) if name.endswith(".projection") else 1.0
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5 / depth_scale)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
