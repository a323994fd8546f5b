"""AOTInductor: the model compiled ahead of time into a package, which later processes only load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thrifty.atomic import write_file_atomically
from thrifty.config.choices import engines
from thrifty.engines.base import Engine, place_of
from thrifty.engines.compiler import why_no_compiler
from thrifty.engines.kept_file import is_ours, seal
from thrifty.errors import Unsupported

if TYPE_CHECKING:
    from torch import nn

    from thrifty.engines.base import Inputs


class Aot(Engine):
    """On the CPU, for batches of any size: inductor compiles once a run, and no process after it does."""

    name = "aot"
    exports = True
    any_length = True
    needs_torch = True

    def unsupported(self, device_type: str) -> str | None:
        """For want of a compiler; and other devices than the CPU, where we have not tried it."""
        if device_type != "cpu":
            return (
                f"engine=aot: has been tried on the CPU only, not on device={device_type}; take engine=compile, or engine=eager"
            )
        why = why_no_compiler()
        return None if why is None else f"engine=aot: {why}, or take engine=eager"

    def not_in(self, precision: str) -> str | None:
        """Precisions that are more than autocast."""
        if precision in ("fp32", "bf16"):
            return None
        return f"engine=aot precision={precision}: it takes fp32 and bf16; take one of them, or engine=eager"

    def prepare(
        self, module: nn.Module, example: Inputs, precision: str = "fp32", kept: Path | None = None
    ) -> Callable[..., Any]:
        """The loaded package.

        Raises:
            Unsupported: the model cannot be exported or compiled.
        """
        import torch
        import torch._inductor

        with place_of(kept) as place:
            # The code has the number of threads in it.
            path = place.with_name(f"{place.name}.aot-{precision}-{torch.get_num_threads()}.pt2")
            if not is_ours(path):
                try:
                    _compile(module, example, precision, path)
                    seal(path)
                except Exception as error:
                    from thrifty.layers.onnx_file import where

                    raise Unsupported(f"engine=aot: the model cannot be exported: {where(error)}; take engine=eager") from error
            return torch._inductor.aoti_load_package(str(path))


def _compile(module: nn.Module, example: Inputs, precision: str, path: Path) -> None:
    import warnings

    import torch
    import torch._inductor

    from thrifty.layers.aot import exportable
    from thrifty.layers.export_sizes import inputs_and_sizes
    from thrifty.layers.progress_bars import hold_progress_bars
    from thrifty.layers.quantized import Static

    hold_progress_bars()
    frozen = any(isinstance(one, Static) for one in module.modules())
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")
        inputs, sizes = inputs_and_sizes(example)
        program = torch.export.export(exportable(module, precision), inputs, dynamic_shapes=sizes)
        with tempfile.TemporaryDirectory() as elsewhere:  # who is killed on the long way leaves nothing beside the run
            package = str(Path(elsewhere) / "model.pt2")
            torch._inductor.aoti_compile_and_package(program, package_path=package, inductor_configs={"freezing": frozen})
            write_file_atomically(path, lambda temporary: shutil.copyfile(package, temporary))


def build(config: engines.Engine) -> Engine:
    """The engine a configuration names."""
    return Aot()
