"""What every engine gives: whether it can run here, and a model made ready for one shape of inputs. Imports no torch."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    Inputs = Tensor | tuple[Tensor, ...]


class Engine(ABC):
    """An engine as the rest of the program sees it."""

    name: str
    """As in `engine=NAME`."""
    compiles = False
    """Whether a first prediction compiles, and a later process finds what was compiled on the disk."""
    exports = False
    """Whether it runs a file of its own, made of the model once and kept beside it, and not the module."""
    any_length = False
    """Whether an `Extension` that was made ready for some number of tokens takes any other."""
    needs_torch = False
    """Whether what it exports takes torch to run all the same."""
    preload: str | None = None
    """Module that a fork server imports, so that processes it makes need not wait for the engine's own imports."""
    in_arms: Mapping[str, str] = MappingProxyType({})
    """Environment variables of processes that are measured, unless the user has set them."""

    @abstractmethod
    def unsupported(self, device_type: str) -> str | None:
        """Why it cannot run on a device (`cpu`, `cuda`, `mps`) here, in one line with what to do instead; None where it can."""

    def not_in(self, precision: str) -> str | None:
        """Why it cannot compute in a precision, in one line with what to do instead; None where it can."""
        return None

    @abstractmethod
    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        """What to call for predictions instead of the module, in the context that it is prepared in.

        What it returns holds good until the next call. What takes long may be left to the first call.

        Args:
            module: in evaluation mode.
            example: inputs of the shape, type and device that every call will have; another shape needs preparing of its own. Several
                are those of an `Extension`, which is called with as many and returns several.
            precision: by name; what the context says to PyTorch, for engines that have no use for it.
            kept: where an engine that exports finds its file or leaves it, but for the suffix; its name must change with the model.
                None keeps nothing.

        Raises:
            Unsupported: the engine cannot take the model; says which operation or module.
        """

    def opened(self, kept: Path, threads: int, precision: str, shape: list[int]) -> Callable[[Any], Any]:
        """Of an engine that exports: a function of numpy arrays of one shape that runs the file it has left; imports no torch.

        Args:
            kept: as `prepare` was given it.
        """
        raise NotImplementedError

    def kept_in(self, directory: str) -> dict[str, str]:
        """Environment variables by which a process that is yet to start keeps what it compiles in a directory, and only there."""
        return {}


def file_of(kept: Path, engine: str) -> Path:
    """Where an engine's exported file lies."""
    return kept.with_name(f"{kept.name}.{engine}.onnx")


def example_of(kept: Path) -> Path:
    """Where the inputs lie that a model was exported with, for one example, as numpy's npy."""
    return kept.with_name(f"{kept.name}.example.npy")


@contextmanager
def place_of(kept: Path | None) -> Iterator[Path]:
    """What an engine's files are called but for the suffix: where they are kept, or in a directory that is gone afterwards."""
    if kept is not None and os.access(kept.parent, os.W_OK):
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="thrifty-") as folder:
        yield Path(folder) / "model"
