"""profile=true: a trace and a memory account of a few training steps and predictions, beside the record."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import torch

from thrifty.atomic import write_atomically
from thrifty.errors import BadData
from thrifty.measure.profiling import Phase, profiled
from thrifty.methods.evaluate import predictor
from thrifty.methods.module import TrainingModule
from thrifty.methods.sampler import BatchSampler

TRACE, MEMORY = "trace.json.gz", "memory.json"
TRAINING, PREDICTION = "training step", "prediction"


def profile_run(directory: Path, module: TrainingModule, batch_size: int, device: torch.device) -> list[dict[str, Any]]:
    """Train and predict a little more under the profiler's eye; returns the costliest operations.

    Trains the model on: its weights must have been saved, and what is to be measured measured.

    Raises:
        BadData: the directory cannot be written.
    """
    data, model = module.data, module.model.to(device)
    sampler = BatchSampler(data.sizes["train"], batch_size, seed=0)

    def step() -> None:
        draws = sampler.draws(module.steps_made, 1)
        whole = batch_size <= module.most_at_once
        module.training_step([data.batch("train", draws[0])] if whole else draws, 0)

    inputs, _ = data.batch("test", torch.arange(min(batch_size, data.most_at_once, data.sizes["test"])))
    predict = predictor(model, module.precision, device)
    phases = {TRAINING: Phase(step, model.train), PREDICTION: Phase(lambda: predict(inputs), model.eval)}
    found = profiled(phases, device)
    for path, content in (
        (directory / TRACE, gzip.compress(found.trace, mtime=0)),
        (directory / MEMORY, json.dumps(found.memory) + "\n"),
    ):
        try:
            write_atomically(path, content)
        except OSError as error:
            raise BadData(f"{path}: cannot be written ({error.strerror}); free some space or leave out profile=true") from error
    return found.operations
