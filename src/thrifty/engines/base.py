"""What every engine gives: whether it can run here, and a model made ready for one shape of inputs. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


class Engine(ABC):
    """An engine as the rest of the program sees it."""

    name: str
    """As in `engine=NAME`."""
    compiles = False
    """Whether a first prediction compiles, and a later process finds what was compiled on the disk."""
    preload: str | None = None
    """Module that a fork server imports, so that processes it makes need not wait for the engine's own imports."""
    in_arms: Mapping[str, str] = MappingProxyType({})
    """Environment variables of processes that are measured, unless the user has set them."""

    @abstractmethod
    def unsupported(self, device_type: str) -> str | None:
        """Why it cannot run on a device (`cpu`, `cuda`, `mps`) here, in one line with what to do instead; None where it can."""

    @abstractmethod
    def prepare(self, module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        """What to call for predictions instead of the module, in the context that it is prepared in.

        What it returns holds good until the next call. What takes long may be left to the first call.

        Args:
            module: in evaluation mode.
            example: inputs of the shape, type and device that every call will have; another shape needs preparing of its own.
        """

    def kept_in(self, directory: str) -> dict[str, str]:
        """Environment variables by which a process that is yet to start keeps what it compiles in a directory, and only there."""
        return {}
