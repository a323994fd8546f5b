"""Adafactor. Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.optimizers import Adafactor
from thrifty.optimizers.parameter_groups import decayed_and_spared


def build(config: Adafactor, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved.

    The learning rate is a share of each tensor's root mean square, and at most one over the root of the step's number.
    """
    assert config.lr is not None
    return torch.optim.Adafactor(
        decayed_and_spared(parameters_of, config.weight_decay),
        lr=config.lr,
        beta2_decay=config.beta2_decay,
        d=config.clip,
        # One tensor at a time: all at once would hold a second copy of every gradient, and memory is what this is for.
        foreach=False,
    )
