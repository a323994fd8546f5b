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


@dataclass(kw_only=True)
class Momentum(Optimizer):
    """Gradient descent that keeps a share of its last step. Source: Polyak, 1964."""

    momentum: float = key("share of the last step kept in the next", above=0, below=1)


@dataclass(kw_only=True)
class Nesterov(Momentum):
    """The same, the gradient taken where momentum leads. Source: Sutskever et al., "On the importance of initialization and
    momentum in deep learning", 2013.
    """


@dataclass(kw_only=True)
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients. Source: Duchi et al., 2011."""

    eps: float = key("added to the root of the sum", above=0)


@dataclass(kw_only=True)
class RmsProp(Optimizer):
    """Steps divided by the root of a running mean of squared gradients. Source: Hinton, lecture 6e, 2012."""

    decay: float = key("decay of the running mean of squares", at_least=0, below=1)
    momentum: float = key("share of the last step kept in the next", at_least=0, below=1)
    eps: float = key("added to the root of the mean", above=0)


@dataclass(kw_only=True)
class Lion(Optimizer):
    """Steps of one size, by the sign of a running mean. Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023."""

    betas: list[float] = key("share of the mean in the step, and its decay", at_least=0, below=1)
    weight_decay: float = key("share of each weight matrix taken off per unit of lr; biases and norms are spared", at_least=0)

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if len(self.betas) != 2:
            raise BadConfiguration(f"{path}betas={self.betas}: must be two numbers, such as [0.9,0.99]")


@dataclass(kw_only=True)
class Muon(AdamW):
    """Orthogonal steps for the matrices of hidden layers, AdamW for all else. Source: Jordan et al., "Muon", 2024; the size of its
    steps matched to AdamW's as Liu et al., "Muon is Scalable for LLM Training", 2025, have it.
    """

    momentum: float = key("share of the running mean kept, of the hidden matrices", at_least=0, below=1)


@dataclass(kw_only=True)
class Adafactor(Optimizer):
    """Second moments by row and column, steps relative to the weights. Source: Shazeer and Stern, "Adafactor", 2018."""

    beta2_decay: float = key("exponent by which the memory of squares grows", at_most=0)
    clip: float = key("largest root mean square of an update before it is scaled down", at_least=1)
    weight_decay: float = key("share of each weight matrix taken off per unit of lr; biases and norms are spared", at_least=0)
