"""The model as PyTorch runs it, operation by operation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.config.choices import engines
from thrifty.engines.base import Engine

if TYPE_CHECKING:
    from torch import nn

    from thrifty.engines.base import Inputs


class Eager(Engine):
    """Nothing is prepared."""

    name = "eager"

    def unsupported(self, device_type: str) -> str | None:
        """Never."""
        return None

    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        """The module itself."""
        return module


def build(config: engines.Engine) -> Engine:
    """The engine a configuration names."""
    return Eager()
