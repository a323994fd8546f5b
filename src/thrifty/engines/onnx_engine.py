"""What engines of ONNX files share: the file is exported once, and opened by the engine's own library."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.engines.base import Engine, example_of, file_of, place_of
from thrifty.engines.kept_file import is_ours, seal

if TYPE_CHECKING:
    from torch import nn

    from thrifty.engines.base import Inputs

Run = Callable[..., Sequence[Any]]
"""A function of numpy arrays, one for each input of the model; returns as many as it has outputs."""


class OnnxEngine(Engine):
    """On the CPU."""

    exports = True
    extra: str
    """The extra that installs it."""
    library: str
    """Its module."""
    precisions: tuple[str, ...]
    """Those that it computes in, by name."""
    integer_products: bool
    """Whether scales that are found at every call become products of integers, or are left out, with activations as they are."""

    def unsupported(self, device_type: str) -> str | None:
        """Other devices than the CPU, and a missing library."""
        missing = [one for one in (self.library, "onnx", "onnxscript") if importlib.util.find_spec(one) is None]
        if missing:
            return f"engine={self.name}: needs {', '.join(missing)}; pip install 'thrifty[{self.extra}]', or take engine=eager"
        if device_type != "cpu":
            return f"engine={self.name}: runs on the CPU here, not on device={device_type}; take device=cpu or engine=eager"
        return None

    def not_in(self, precision: str) -> str | None:
        """Precisions that its processor kernels lack."""
        if precision in self.precisions:
            return None
        able = " or ".join(self.precisions)
        return f"engine={self.name} precision={precision}: it computes in {able} on processors; take precision={self.precisions[0]}, or engine=eager"

    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        """The exported file, opened.

        Raises:
            Unsupported: the model cannot be exported.
        """
        import torch

        from thrifty.layers.onnx_file import keep_example, write_onnx

        inputs = example if isinstance(example, tuple) else (example,)
        with place_of(kept) as place:
            path = file_of(place, self.name)
            ours = is_ours(path)
            if not ours:
                write_onnx(module, example, path, self.name, self.integer_products)
            if not isinstance(example, tuple) and not (ours and example_of(place).is_file()):
                keep_example(example, example_of(place))
            if not ours:
                seal(path)  # last: what is sealed has its example
            run = self.open_file(path, torch.get_num_threads(), precision, [list(one.shape) for one in inputs])
        if not isinstance(example, tuple):
            return lambda one: torch.from_numpy(run(one.numpy())[0])
        return lambda *some: tuple(torch.from_numpy(one) for one in run(*(each.numpy() for each in some)))

    def opened(self, kept: Path, threads: int, precision: str, shape: list[int]) -> Callable[[Any], Any]:
        """The file that `prepare` has left, opened."""
        run = self.open_file(file_of(kept, self.name), threads, precision, [shape])
        return lambda inputs: run(inputs)[0]

    @abstractmethod
    def open_file(self, path: Path, threads: int, precision: str, shapes: list[list[int]]) -> Run:
        """The model in a file, for inputs of these shapes; imports no torch, and needs the file no longer once it returns."""
