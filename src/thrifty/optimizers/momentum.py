"""Gradient descent that keeps a share of its last step. Source: Polyak, "Some methods of speeding up the convergence of iteration
methods", 1964.
"""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.optimizers import Momentum


def build(config: Momentum, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved."""
    assert config.lr is not None
    trained = [one for one in parameters_of.parameters() if one.requires_grad]
    return torch.optim.SGD(trained, lr=config.lr, momentum=config.momentum, fused=True)  # as in sgd.py
