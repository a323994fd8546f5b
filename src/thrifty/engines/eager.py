"""The model as PyTorch runs it, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from thrifty.config.choices import engines
from thrifty.engines.base import Engine

if TYPE_CHECKING:
    from torch import Tensor, nn


class Eager(Engine):
    """Nothing is prepared."""

    name = "eager"

    def unsupported(self, device_type: str) -> str | None:
        """Never."""
        return None

    def prepare(self, module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        """The module itself."""
        return module


def build(config: engines.Engine) -> Engine:
    """The engine a configuration names."""
    return Eager()
