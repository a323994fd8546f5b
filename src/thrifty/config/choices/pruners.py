"""Schemas of `pruner`: which weights, or which whole units, are removed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from thrifty.config.key import key
from thrifty.errors import BadConfiguration

Scope = Enum("Scope", ["global", "layer"])  # of which the first is a word of Python's
Counted = Enum("Counted", ["parameters", "flops"])
Spacing = Enum("Spacing", ["importance", "even", "last"])

PROTECTED_KINDS = ("embeddings", "norms", "biases", "head")
"""Kinds of parameters that `pruner.protect` may name."""


@dataclass(kw_only=True)
class Pruner:
    """Which weights, or which whole units, are removed."""

    PHYSICAL: ClassVar[bool] = False
    """Whether the model that comes out is smaller, or has zeros in it."""
    PACES: ClassVar[tuple[str, ...]] = ("one_shot", "iterative", "gradual")
    """The values of method.pace that the pruner can go by."""

    name: str
    protect: list[str] = key(
        f"what stays whole: kinds ({', '.join(PROTECTED_KINDS)}), and layers by name or pattern, as blocks.0.*"
    )


@dataclass(kw_only=True)
class Scoped(Pruner):
    """A pruner that ranks single weights against each other."""

    scope: Scope = key("whether weights are ranked over all layers together, or each layer loses the same share")


@dataclass(kw_only=True)
class NM(Pruner):
    """n of every m weights of an output stay, the largest: what sparse tensor cores take."""

    pattern: str | None = key("n:m, such as 2:4: of m neighbours n stay", null="the one nearest to sparsity")

    def check(self, path: str) -> None:
        """What a type cannot say; `path` leads the key's name in errors."""
        if self.pattern is not None:
            numbers = self.pattern.split(":")
            if len(numbers) != 2 or not all(one.isdigit() for one in numbers) or not 0 < int(numbers[0]) < int(numbers[1]):
                raise BadConfiguration(f"{path}pattern={self.pattern}: must be n:m with 0 < n < m, such as 2:4, 4:8 or 1:4")


def nearest_pattern(sparsity: float) -> str:
    """n:m of 4, 8 or 16 weights whose sparsity is nearest, of the fewest weights: 2:4 for 0.5, 1:8 for 0.9 or 0.875."""
    found = [(abs(1 - n / m - sparsity), m, n) for m in (4, 8, 16) for n in range(1, m)]
    _, m, n = min(found)
    return f"{n}:{m}"


@dataclass(kw_only=True)
class Movement(Scoped):
    """Weights that fine-tuning moves towards zero go first; their scores grow while it goes on."""

    PACES: ClassVar[tuple[str, ...]] = ("iterative", "gradual")


@dataclass(kw_only=True)
class Structured(Pruner):
    """Whole neurons, channels and attention heads are removed: the model that comes out is smaller."""

    PHYSICAL: ClassVar[bool] = True
    PACES: ClassVar[tuple[str, ...]] = ("one_shot",)

    counts: Counted = key(
        "what sparsity is a share of: the weights of the layers that are not protected, or the model's operations"
    )
    multiple: int = key("widths that remain are multiples of it: odd ones use a processor's vectors badly", at_least=1)


@dataclass(kw_only=True)
class LayerDrop(Pruner):
    """Whole blocks are removed: the model that comes out is shallower."""

    PHYSICAL: ClassVar[bool] = True
    PACES: ClassVar[tuple[str, ...]] = ("one_shot",)

    which: Spacing = key("blocks to drop: those that change their input least, evenly spaced ones, or the last")
