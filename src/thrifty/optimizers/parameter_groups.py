"""Which parameters weight decay applies to."""

from __future__ import annotations

from typing import Any

from torch import nn


def decayed_and_spared(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for torch: matrices (linear, convolution, embeddings) decay; biases and the scales of norms do not.

    A vector's entries have no redundancy that decay could curb, and a norm's scale shrinks its whole layer. Embeddings
    decay, as they do in GPT-2's successors (GPT-3, nanoGPT). A parameter that two modules share comes once.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
