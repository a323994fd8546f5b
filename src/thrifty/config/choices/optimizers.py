"""Schemas of `optimizer`: what turns gradients into steps."""

from __future__ import annotations

from dataclasses import dataclass

from thrifty.config.key import BY_ARCHITECTURE_AND_MODEL, key
from thrifty.errors import BadConfiguration


@dataclass(kw_only=True)
class Optimizer:
    """What turns gradients into steps."""

    name: str
    lr: float | None = key("peak learning rate", above=0, null=BY_ARCHITECTURE_AND_MODEL)


@dataclass(kw_only=True)
class Adam(Optimizer):
    """Adam. Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015."""

    betas: list[float] = key("decay of the first and second moment", at_least=0, below=1)
    eps: float = key("added to the root of the second moment", above=0)

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if len(self.betas) != 2:
            raise BadConfiguration(f"{path}betas={self.betas}: must be two numbers, such as [0.9,0.999]")


@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019."""

    weight_decay: float = key("share of each weight matrix taken off per unit of lr; biases and norms are spared", at_least=0)


@dataclass(kw_only=True)
class Sgd(Optimizer):
    """Gradient descent; full-batch, stochastic or mini-batch as `batch_size` says."""

    momentum: float = key("share of the last step kept in the next", at_least=0, below=1)
