"""Predictions of a run's model on the processor, by any engine, for batches of which the last is shorter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thrifty.engines.base import Engine
from thrifty.methods.evaluate import any_shape, predictor
from thrifty.methods.model import TrainedModel, engine_for, load_trained

OF_RUN = "thrifty.methods.prediction:of_run"
CPU = torch.device("cpu")

Predict = Callable[[Tensor, int], Tensor]
"""Inputs of a batch, and how many are in one that is full -> float32 outputs."""


def of_run(run: str, config_hash: str | None, engine: dict[str, Any]) -> Predict:
    """What predicts batches with the model in a run's directory.

    Args:
        config_hash: the configuration the run's record names; a model of another one is refused.
        engine: its values.

    Raises:
        BadData: files missing, altered, truncated, or of another run.
        Unsupported: an engine that cannot run here.
    """
    return of_trained(load_trained(Path(run), CPU, config_hash), engine_for(engine, CPU))


def of_trained(trained: TrainedModel, engine: Engine) -> Predict:
    """What predicts batches with a model that is loaded; the outputs of an engine that cannot take it raise Unsupported."""
    if engine.name == "eager":
        plain = predictor(trained.module, trained.precision, CPU)
        return lambda inputs, full: plain(inputs)
    ready = any_shape(lambda some: predictor(trained.module, trained.precision, CPU, engine, some, trained.kept))

    def predict(inputs: Tensor, full: int) -> Tensor:
        # Getting an engine ready for one more shape may take half a minute. So a short batch is filled up, with its own first
        # example: scales that are found over the whole batch stay what they are.
        missing = full - len(inputs)
        filled = torch.cat([inputs, inputs[:1].expand(missing, *inputs.shape[1:])]) if missing > 0 else inputs
        return ready(filled)[: len(inputs)].clone()  # the engine's own memory, until its next call

    return predict
