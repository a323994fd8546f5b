"""Lion. Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2. Torch has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thrifty.config.choices.optimizers import Lion
from thrifty.optimizers.parameter_groups import decayed_and_spared


class SignOfMean(torch.optim.Optimizer):
    """W <- W - lr (sign(b1 m + (1 - b1) g) + decay W), then m <- b2 m + (1 - b2) g."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A step with the gradients there are."""
        assert closure is None, "gradients are made before the step"
        for group in self.param_groups:
            weights: list[Tensor] = [one for one in group["params"] if one.grad is not None]
            if not weights:
                continue
            gradients: list[Tensor] = [one.grad for one in weights if one.grad is not None]
            for one in weights:
                if not self.state[one]:
                    self.state[one]["mean"] = torch.zeros_like(one)
            means: list[Tensor] = [self.state[one]["mean"] for one in weights]
            first, second = group["betas"]
            signs = torch._foreach_lerp(means, gradients, 1 - first)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_sign_(signs)  # pyright: ignore[reportPrivateImportUsage]
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_add_(weights, signs, alpha=-group["lr"])  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_lerp_(means, gradients, 1 - second)  # pyright: ignore[reportPrivateImportUsage]
        return None


def build(config: Lion, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved."""
    assert config.lr is not None
    groups = decayed_and_spared(parameters_of, config.weight_decay)
    return SignOfMean(groups, config.lr, (config.betas[0], config.betas[1]))
