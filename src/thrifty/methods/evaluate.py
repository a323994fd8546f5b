"""A model as a function of its inputs, and its scores on a split. Training, evaluation, timing and prediction share it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from thrifty.engines.base import Engine
from thrifty.precisions.base import Precision

if TYPE_CHECKING:  # predicting needs no task, and so not what its statistics import: half a second and 60 MiB
    from thrifty.tasks.base import Data


def predictor(
    model: nn.Module,
    precision: Precision,
    device: torch.device,
    engine: Engine | None = None,
    example: Tensor | None = None,
    kept: Path | None = None,
) -> Callable[[Tensor], Tensor]:
    """Inputs of a batch -> float32 outputs, in evaluation mode, without gradients, under the run's precision.

    Args:
        engine: what executes it, then for inputs shaped as `example` is only; None is PyTorch itself, for any.
        kept: see `Engine.prepare`.

    Raises:
        Unsupported: the engine cannot take the model.
    """
    model.eval()
    forward: Callable[[Tensor], Tensor] = model
    if engine is not None:
        assert example is not None
        with torch.inference_mode(), precision.context(device.type):
            forward = engine.prepare(model, example, precision.name, kept)

    def predict(inputs: Tensor) -> Tensor:
        with torch.inference_mode(), precision.context(device.type):
            return forward(inputs).float()

    return predict


def any_shape(prepared: Callable[[Tensor], Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """A predictor of inputs of any shape; one is prepared for each shape when it first comes."""
    known: dict[torch.Size, Callable[[Tensor], Tensor]] = {}

    def predict(inputs: Tensor) -> Tensor:
        if inputs.shape not in known:
            known[inputs.shape] = prepared(inputs)
        return known[inputs.shape](inputs)

    return predict


def scores_of(predict: Callable[[Tensor], Tensor], data: Data, split: str, examples: int | None) -> dict[str, np.ndarray]:
    """Scores of the first `examples` examples of a split (all where None), one row an example."""
    n = data.sizes[split] if examples is None else min(examples, data.sizes[split])
    parts: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for draws in torch.arange(n).split(data.most_at_once):
            inputs, targets = data.batch(split, draws)
            parts.append({name: one.float().cpu() for name, one in data.scores(predict(inputs), targets).items()})
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
