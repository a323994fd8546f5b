"""RMSProp. Source: Hinton, "Neural Networks for Machine Learning", lecture 6e, 2012."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.optimizers import RmsProp


def build(config: RmsProp, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved."""
    assert config.lr is not None
    trained = [one for one in parameters_of.parameters() if one.requires_grad]
    return torch.optim.RMSprop(
        trained, lr=config.lr, alpha=config.decay, eps=config.eps, momentum=config.momentum, foreach=True
    )
