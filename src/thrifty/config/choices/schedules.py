"""Schemas of `schedule`: how the learning rate moves over the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass

from thrifty.config.key import key
from thrifty.errors import BadConfiguration


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
class Step(Schedule):
    """Down by a factor at each of a few moments, as ResNets were first trained. Source: He et al., 2015."""

    milestones: list[float] = key("when it falls, as shares of the steps", above=0, below=1)
    factor: float = key("what it is multiplied by each time", above=0, below=1)


@dataclass(kw_only=True)
class OneCycle(Schedule):
    """Half a cosine up, half a cosine down to almost nothing. Source: Smith and Topin, "Super-Convergence", 2018."""

    warmup: float = key("share of the steps spent rising to the peak", above=0, below=1)
    initial: float = key("first learning rate, as a share of the peak", above=0, at_most=1)
    final: float = key("last learning rate, as a share of the peak", above=0, at_most=1)


@dataclass(kw_only=True)
class WarmupStableDecay(Schedule):
    """Linear warm-up, the peak for most of the run, a fall at its end. Source: Hu et al., "MiniCPM", 2024; the shape of the fall,
    one minus the root of what is done of it: Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations", 2024.
    """

    warmup: float = key("share of the steps spent rising to the peak", at_least=0, below=1)
    decay: float = key("share of the steps spent falling, at the end", at_least=0, at_most=1)
    final: float = key("last learning rate, as a share of the peak", at_least=0, at_most=1)

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.warmup + self.decay > 1:
            raise BadConfiguration(
                f"{path}warmup={self.warmup:g} and {path}decay={self.decay:g}: are more than the whole run together; they may be 1 in sum"
            )


@dataclass(kw_only=True)
class InverseTime(Schedule):
    """alpha = alpha0 / (1 + beta * iteration)."""

    beta: float = key("how fast it falls: at iteration 1/beta it has halved", unit="1/step", at_least=0)
