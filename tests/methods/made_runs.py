"""Runs as a worker makes them, but in the test's own process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_training import undisturbed
from torch import nn

from conftest import QUIET
from thrifty.config import registry
from thrifty.config.compose import compose, plain
from thrifty.errors import ThriftyError
from thrifty.execution.beginning import Beginning
from thrifty.methods.model import load_trained
from thrifty.methods.train import TrainMethod
from thrifty.record import new_record
from thrifty.stop import StopRequest
from thrifty.store import RunDirectory

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Made:
    """A finished run."""

    path: Path
    record: dict[str, Any]

    @property
    def model(self) -> nn.Module:
        return load_trained(self.path, CPU, self.record["config_hash"]).module.eval()

    @property
    def correct(self) -> np.ndarray:
        return np.asarray(json.loads((self.path / "samples.json").read_text())["quality/test"]["correct"])

    def metric(self, name: str) -> float:
        return self.record["metrics"][name]["value"]


def make(store: Path, *overrides: str, origin: Path | None = None, kind: type[TrainMethod] | None = None) -> Made:
    """A run as a worker makes it, but in this process."""
    typed = [*overrides, f"store={store}"]
    config = compose([*QUIET, *typed])
    method = (kind or registry.load("method", config.method.name))(config, CPU, lambda event: None, StopRequest())
    record = new_record(plain(config), typed, "token")
    with undisturbed():
        record["data"] = method.prepare({one.split("=")[0] for one in typed}, Beginning(origin=origin))
        record["parents"] = method.parents
        directory = RunDirectory.claim(store / "runs", record)
        try:
            directory.finish(*method.run(directory))
        except ThriftyError:
            directory.lock.release()
            raise
    return Made(directory.path, directory.record)
