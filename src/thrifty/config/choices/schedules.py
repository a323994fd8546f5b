"""Schemas of `schedule`: how the learning rate moves over the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass

from thrifty.config.key import key


@dataclass(kw_only=True)
class Schedule:
    """How the learning rate moves over the steps of a run."""

    name: str


@dataclass(kw_only=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down. Source: Loshchilov and Hutter, "SGDR", 2017."""

    warmup: float = key("share of the steps spent rising to the peak", at_least=0, below=1)
    final: float = key("last learning rate, as a share of the peak", at_least=0, at_most=1)


@dataclass(kw_only=True)
class InverseTime(Schedule):
    """alpha = alpha0 / (1 + beta * iteration)."""

    beta: float = key("how fast it falls: at iteration 1/beta it has halved", unit="1/step", at_least=0)
