"""What arms can be told to measure, by name: each function takes plain values and returns a workload."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thrifty.architectures.shapes_only import given_memory, shapes_only
from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.measure.workload import Workload
from thrifty.methods.agreement import Agreement
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import architecture_of, build_model, engine_for, example_inputs, load_trained

PREDICTION = "thrifty.methods.workloads:prediction"
UNTRAINED = "thrifty.methods.workloads:untrained"
_WEIGHT = 0.01
"""Not 0, which leaves nothing but zeros to compute with, nor so small that sums of products lose their ordinary form."""
_LEAD_IN = 6
"""Forward passes, where many make a call."""


def prediction(
    run: str,
    config_hash: str,
    batch_size: int,
    device: str,
    engine: dict[str, Any] | None = None,
    precision: dict[str, Any] | None = None,
    held_to_eager: bool = False,
) -> Workload:
    """Predictions of a run's model for a batch.

    Args:
        engine: the values of the run's engine; it compiles, where it does, in the first call. None is PyTorch itself.
        precision: the values of the one to predict in; None is the run's.
        held_to_eager: first hold what the engine predicts to what PyTorch itself does.

    Raises:
        BadData: files missing, altered, truncated, or of another run.
        Unsupported: an engine that cannot run here, or predicts something else.
    """
    where = torch.device(device)
    executes = engine_for(engine or {"name": "eager"}, where)
    trained = load_trained(Path(run), where, config_hash, precision)
    inputs = example_inputs(architecture_of(trained.manifest), trained.manifest["shape"], batch_size).to(where)
    predict = predictor(trained.module, trained.precision, where, executes, inputs, trained.kept)
    if held_to_eager and executes.name != "eager":
        quantised = trained.manifest.get("quantized") is not None
        expected = predictor(trained.module, trained.precision, where)(inputs)
        Agreement(executes.name, trained.precision.name, quantised).tell(predict(inputs), expected)
    return Workload(lambda: predict(inputs), where, batch_size)


def untrained(
    architecture: dict[str, Any], shape: dict[str, int], precision: dict[str, Any], batch_size: int, repeats: int = 1
) -> Workload:
    """The same of a model whose weights are all alike, on the CPU: speed does not depend on their values.

    Args:
        repeats: forward passes in a call; the batch counts once. Where they are several, they are nothing but that, so that the
            call takes as many times as long as one, and some can lead in.
    """
    config = choice_of("architecture", architecture)
    with shapes_only():
        model = build_model(config, shape, dropout=0.0)
    for one in given_memory(model, where := torch.device("cpu")).state_dict().values():
        one.fill_(_WEIGHT)  # drawing them takes as long as a prediction or two
    chosen = choice_of("precision", precision)
    context = registry.load("precision", chosen.name)(chosen)
    inputs = example_inputs(config, shape, batch_size)
    if repeats == 1:
        return Workload(partial(predictor(model.to(context.weight_dtype), context, where), inputs), where, batch_size)
    # No more than the passes themselves: what a call costs besides, entering a mode say, would not grow with them.
    model.eval().requires_grad_(False).to(context.weight_dtype)

    def passes(count: int) -> Tensor:
        for _ in range(count - 1):
            model(inputs)
        return model(inputs)

    return Workload(partial(passes, repeats), where, batch_size, partial(passes, min(_LEAD_IN, repeats)))


def training(overrides: list[str]) -> Workload:
    """Optimiser steps of the training that overrides stand for, on its own data, at its own batch size.

    Raises:
        ThriftyError: as the run itself would.
    """
    from thrifty.config.compose import compose
    from thrifty.execution.device import choose_device
    from thrifty.methods.train import TrainMethod
    from thrifty.stop import StopRequest

    config = compose(overrides)
    device = choose_device(config)
    method = TrainMethod(config, device, lambda event: None, StopRequest())
    method.prepare({one.partition("=")[0] for one in overrides})
    torch.manual_seed(config.seed)
    step = method.endless_steps()
    return Workload(step, device, method.batch_size)
