"""Adam with decoupled weight decay. Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019."""

from __future__ import annotations

import torch
from torch import nn

from thrifty.config.choices.optimizers import AdamW
from thrifty.optimizers.parameter_groups import decayed_and_spared


def build(config: AdamW, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved. Each step takes lr * weight_decay off."""
    assert config.lr is not None
    return torch.optim.AdamW(
        decayed_and_spared(parameters_of, config.weight_decay),
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        # Measured on the CPU (a 4-layer GPT, a small MLP; weights of 32 and 16 bits): at least twice as fast as foreach and
        # as one parameter at a time; on GPUs it is one kernel.
        fused=True,
    )
