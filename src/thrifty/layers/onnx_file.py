"""A model as an ONNX file, for engines that run such files."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thrifty.atomic import write_file_atomically
from thrifty.errors import Unsupported
from thrifty.layers.progress_bars import hold_progress_bars

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def write_onnx(
    module: nn.Module, example: Tensor | tuple[Tensor, ...], path: Path, engine: str, integer_products: bool
) -> None:
    """Write the file of a model whole, or none.

    Args:
        example: inputs; of their sizes one is left open, see `inputs_and_sizes`.
        engine: whose file it is, by name.
        integer_products: see `exportable`.

    Raises:
        Unsupported: the model cannot be exported; says what of it.
    """
    try:
        write_file_atomically(path, lambda temporary: _export(module, example, integer_products, temporary))
    except Unsupported:
        raise
    except Exception as error:
        raise Unsupported(f"engine={engine}: the model cannot be exported: {where(error)}; take engine=eager") from error


def keep_example(example: Tensor, path: Path) -> None:
    """Write an example like the first, as numpy's npy: what a process without torch makes inputs of.

    Like it in shape and type alone: it may be of somebody's data, and the file stays beside the model.
    """
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(example[:1].shape, generator=generator) if example.is_floating_point() else torch.zeros_like(example[:1])
    write_file_atomically(path, lambda temporary: _keep(made.to(example.dtype), temporary))


def _export(module: nn.Module, example: Tensor | tuple[Tensor, ...], integer_products: bool, path: Path) -> None:
    from thrifty.layers.export_sizes import inputs_and_sizes
    from thrifty.layers.onnx import OPSET, exportable

    hold_progress_bars()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:  # they tell of each library that is not here
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
        ):
            warnings.simplefilter("ignore")
            inputs, sizes = inputs_and_sizes(example)
            traced = torch.export.export(exportable(module, integer_products), inputs, dynamic_shapes=sizes)
            program = torch.onnx.export(traced, dynamo=True, verbose=False, opset_version=OPSET, external_data=False)
            assert program is not None
            program.save(path)
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _keep(example: Tensor, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, example.detach().cpu().numpy(), allow_pickle=False)


def where(error: BaseException) -> str:
    """The first line of the innermost reason, which names the operation."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:300]
