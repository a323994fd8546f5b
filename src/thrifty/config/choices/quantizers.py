"""Schemas of `quantizer`: which numbers of a model get fewer bits, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from thrifty.config.key import key
from thrifty.errors import BadConfiguration

GROUPS = (32, 64, 128)
"""Sizes of groups that processors have kernels for."""


@dataclass(kw_only=True)
class Quantizer:
    """Which numbers of a model get fewer bits, and how."""

    CALIBRATES: ClassVar[bool] = False
    """Whether scales are chosen by looking at examples."""
    TRAINS: ClassVar[bool] = False
    """Whether the model is fine-tuned with its numbers rounded."""

    name: str
    keep: list[str] = key("layers that stay as they are, by name or pattern, as blocks.0.*")


@dataclass(kw_only=True)
class Static(Quantizer):
    """Scales of activations are fixed by calibration."""

    CALIBRATES: ClassVar[bool] = True


@dataclass(kw_only=True)
class Grouped(Quantizer):
    """Weights of four bits in groups of neighbours."""

    group: int = key(
        f"weights of an output that share a scale ({', '.join(map(str, GROUPS))}); more of them make a smaller file and a larger error",
        at_least=32,
        at_most=128,
    )

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.group not in GROUPS:
            raise BadConfiguration(f"{path}group={self.group}: must be one of {', '.join(map(str, GROUPS))}")


@dataclass(kw_only=True)
class Aware(Quantizer):
    """Trained a little more while its numbers are rounded."""

    TRAINS: ClassVar[bool] = True


@dataclass(kw_only=True)
class AwareGrouped(Grouped):
    """Trained a little more while its weights are rounded to four bits."""

    TRAINS: ClassVar[bool] = True
