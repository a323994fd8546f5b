"""Which parameters weight decay applies to, and which are the matrices of hidden layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

_OUTPUTS = ("head", "output")
"""What our architectures call the layer that gives the answer."""
_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def decayed_and_spared(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for torch: matrices (linear, convolution, embeddings) decay; biases and the scales of norms do not.

    A vector's entries have no redundancy that decay could curb, and a norm's scale shrinks its whole layer. Embeddings
    decay, as they do in GPT-2's successors (GPT-3, nanoGPT). A parameter that two modules share comes once.
    """
    return grouped_by_decay([one for one in model.parameters() if one.requires_grad], weight_decay)


def grouped_by_decay(trained: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """The same of some of a model's parameters."""
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weights of linear layers and convolutions, without the layer that gives the answer and what it shares with an embedding.

    An embedding's rows are moved one by one, and the answer's are read one by one: neither acts as a matrix does.
    """
    embedded = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    found: dict[int, nn.Parameter] = {
        id(one.weight): cast(nn.Parameter, one.weight)
        for name, one in model.named_modules()
        if isinstance(one, _MATRICES) and name.rpartition(".")[2] not in _OUTPUTS
    }
    return [one for place, one in found.items() if place not in embedded and one.requires_grad]
