"""Adagrad. Source: Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.optimizers import Adagrad


def build(config: Adagrad, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved."""
    assert config.lr is not None
    trained = [one for one in parameters_of.parameters() if one.requires_grad]
    # Fused kernels are for the CPU only.
    on_cpu = all(one.device.type == "cpu" for one in trained)
    return torch.optim.Adagrad(trained, lr=config.lr, eps=config.eps, fused=True if on_cpu else None)
