"""torch.compile with its own backend, inductor: C++ on processors, Triton on GPUs."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING

from thrifty.config.choices import engines
from thrifty.engines.base import Engine
from thrifty.engines.compiler import why_no_compiler

if TYPE_CHECKING:
    from torch import Tensor, nn


class Compile(Engine):
    """One graph for each shape, without breaks and without sizes left open."""

    name = "compile"
    compiles = True
    preload = "thrifty.engines.compile_preload"
    in_arms = MappingProxyType({"TORCHINDUCTOR_COMPILE_THREADS": "1"})
    """Nothing is compiled beside the first thread, and no pool of processes started."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def unsupported(self, device_type: str) -> str | None:
        """For want of a compiler, or of Triton on GPUs; and Macs' GPUs, where we have not tried it."""
        if device_type == "mps":
            return "engine=compile: has not been tried on device=mps; take device=cpu, or engine=eager"
        if device_type == "cuda" and importlib.util.find_spec("triton") is None:
            return "engine=compile: needs Triton on a GPU, and this installation of torch has none; pip install triton, or take engine=eager"
        why = why_no_compiler()
        return None if why is None else f"engine=compile: {why}, or take engine=eager"

    def prepare(self, module: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor]:
        """A function that the first call compiles: then the threads and cores are set that it will run with."""
        import torch

        _hold_progress_bars()

        def forward(inputs: Tensor) -> Tensor:
            return module(inputs)

        # Dynamo keeps what it compiled with the code of a function, for a few shapes each, and looks through all of them at every
        # call. Code of its own makes a shape independent of how many others there are.
        own = FunctionType(forward.__code__.replace(), forward.__globals__, "forward", None, forward.__closure__)
        return torch.compile(own, dynamic=False, fullgraph=True, mode=self.mode)

    def kept_in(self, directory: str) -> dict[str, str]:
        """Compiled headers go to the temporary directory whatever inductor's is."""
        return {"TORCHINDUCTOR_CACHE_DIR": directory, "TMPDIR": directory}


def compiled_for_training(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """The module's forward pass and its backward one, compiled for each shape when it first comes."""
    import torch

    _hold_progress_bars()
    return torch.compile(module.__call__, dynamic=False)


def _hold_progress_bars() -> None:
    """Inductor's progress bar, off or not, takes a lock between processes, which ours would leave behind: they end at once."""
    from torch.hub import tqdm  # pyright: ignore[reportPrivateImportUsage]

    if hasattr(tqdm, "set_lock"):  # else torch's own, which is a stand-in
        tqdm.set_lock(threading.RLock())


def build(config: engines.Compile) -> Engine:
    """The engine a configuration names."""
    return Compile(config.mode.name)
