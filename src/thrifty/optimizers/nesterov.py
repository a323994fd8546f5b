"""Gradient descent with Nesterov's momentum, in the form of Sutskever et al., "On the importance of initialization and momentum in
deep learning", 2013.
"""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.optimizers import Nesterov


def build(config: Nesterov, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved."""
    assert config.lr is not None
    trained = [one for one in parameters_of.parameters() if one.requires_grad]
    return torch.optim.SGD(trained, lr=config.lr, momentum=config.momentum, nesterov=True, fused=True)  # as in sgd.py
