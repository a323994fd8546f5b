"""torch.compile with its own backend, inductor: C++ on processors, Triton on GPUs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from thrifty.config.choices import engines
from thrifty.engines.base import Engine
from thrifty.engines.compiler import why_no_compiler
from thrifty.engines.half_written import remove_half_written
from thrifty.layers.progress_bars import hold_progress_bars

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thrifty.engines.base import Inputs


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

    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        """A function that the first call compiles: then the threads and cores are set that it will run with."""
        import torch

        from thrifty.layers.quantized import Static

        hold_progress_bars()

        def forward(*inputs: Tensor) -> Any:
            return module(*inputs)

        # Dynamo keeps what it compiled with the code of a function, for a few shapes each, and looks through all of them at every
        # call. Code of its own makes a shape independent of how many others there are.
        own = FunctionType(forward.__code__.replace(), forward.__globals__, "forward", None, forward.__closure__)
        remove_half_written()
        compiled = torch.compile(own, dynamic=False, fullgraph=True, mode=self.mode)
        return _frozen(compiled) if any(isinstance(one, Static) for one in module.modules()) else compiled

    def kept_in(self, directory: str) -> dict[str, str]:
        """Compiled headers go to the temporary directory whatever inductor's is."""
        return {"TORCHINDUCTOR_CACHE_DIR": directory, "TMPDIR": directory}


def _frozen(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """The same, compiled with weights as constants: only then do products of integers take the place of what imitates them.

    torch asks for this setting where it traces, which `options` of torch.compile come too late for; after the first call it is as it was.
    """
    import torch._inductor.config as settings

    made = False

    def forward(*inputs: Tensor) -> Any:
        nonlocal made
        if made:
            return compiled(*inputs)
        with settings.patch(freezing=True):
            outputs = compiled(*inputs)
        made = True
        return outputs

    return forward


def compiled_for_training(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """The module's forward pass and its backward one, compiled for each shape when it first comes."""
    import torch

    hold_progress_bars()
    remove_half_written()
    return torch.compile(module.__call__, dynamic=False)


def build(config: engines.Compile) -> Engine:
    """The engine a configuration names."""
    return Compile(config.mode.name)
