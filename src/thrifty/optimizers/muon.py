"""Muon for the matrices of hidden layers, AdamW for all else, with one learning rate.

Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is Scalable for LLM
Training", 2025, whose size of steps, matched to AdamW's, lets both share their learning rate and decay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from thrifty.config.choices.optimizers import Muon
from thrifty.optimizers.parameter_groups import grouped_by_decay, hidden_matrices
from thrifty.record import cpu_isa

_COEFFICIENTS, _ITERATIONS = (3.4445, -4.775, 2.0315), 5
"""Of Jordan et al., and torch's own defaults."""


def orthogonalised(matrix: Tensor, eps: float = 1e-7) -> Tensor:
    """About U V' of the singular value decomposition of a matrix, by Newton-Schulz iteration in the matrix's own type.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide


class MuonInItsOwnType(torch.optim.Muon):
    """Torch's Muon without its cast to bf16: a processor that has no bf16 products takes sixteen times as long for them as for fp32."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A step with the gradients there are; momentum, size and decay are torch's, matched to AdamW's steps."""
        assert closure is None, "gradients are made before the step"
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                kept = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                kept.lerp_(weight.grad, 1 - momentum)
                update = orthogonalised(weight.grad.lerp(kept, momentum))  # Nesterov's
                weight.mul_(1 - lr * decay)
                weight.add_(update, alpha=-lr * 0.2 * math.sqrt(max(weight.shape)))
        return None


def bf16_products_are_slow(weight: Tensor) -> bool:
    """Whether a weight lies on a processor that has to imitate bf16."""
    return weight.device.type == "cpu" and not any(one in cpu_isa() for one in ("avx512_bf16", "amx_bf16", "bf16"))


class MuonAndAdamW(torch.optim.Optimizer):
    """Torch's two optimizers as one; a convolution's kernel is a matrix with a row for each of its outputs.

    Args:
        hidden: weights of two dimensions or more, for Muon.
        others: parameter groups, for AdamW.
    """

    def __init__(self, hidden: list[nn.Parameter], others: list[dict[str, Any]], config: Muon) -> None:
        assert config.lr is not None
        mine: list[dict[str, Any]] = [{"params": hidden, "weight_decay": config.weight_decay}] if hidden else []
        super().__init__([*mine, *others], {"lr": config.lr})
        self._hidden = hidden
        self._matrices = [nn.Parameter(one.detach().flatten(1)) for one in hidden]
        self._parts: list[torch.optim.Optimizer] = []
        if hidden:
            in_fp32 = hidden[0].dtype is torch.float32 and bf16_products_are_slow(hidden[0])
            kind = MuonInItsOwnType if in_fp32 else torch.optim.Muon
            self._parts.append(
                kind(
                    self._matrices,
                    lr=config.lr,
                    momentum=config.momentum,
                    weight_decay=config.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            betas = (config.betas[0], config.betas[1])
            self._parts.append(
                torch.optim.AdamW([{**one} for one in others], lr=config.lr, betas=betas, eps=config.eps, fused=True)
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A step with the gradients there are."""
        assert closure is None, "gradients are made before the step"
        for weight, matrix in zip(self._hidden, self._matrices, strict=True):
            # Anew each time: a model that was moved has its weights elsewhere.
            matrix.data = weight.detach().flatten(1)
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        theirs = [group for part in self._parts for group in part.param_groups]
        for group, its in zip(self.param_groups, theirs, strict=True):
            its["lr"] = group["lr"]
        for part in self._parts:
            part.step()
        for weight, matrix in zip(self._hidden, self._matrices, strict=True):
            matrix.grad = None
            if matrix.data_ptr() != weight.data_ptr():  # a kernel whose numbers lie in another order was copied
                weight.copy_(matrix.view_as(weight))
        return None

    def state_dict(self) -> dict[str, Any]:
        """That of both."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)


def build(config: Muon, parameters_of: nn.Module) -> torch.optim.Optimizer:
    """Over all parameters of a model that want a gradient; `config.lr` is resolved."""
    hidden = hidden_matrices(parameters_of)
    ours = {id(one) for one in hidden}
    rest: list[Tensor] = [one for one in parameters_of.parameters() if one.requires_grad and id(one) not in ours]
    return MuonAndAdamW(hidden, grouped_by_decay(rest, config.weight_decay), config)
