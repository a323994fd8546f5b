"""What prediction processes run in tests: models that misbehave as those of users do, and some that tell what they were given."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from thrifty.errors import BadData
from thrifty.execution import affinity

Predict = Callable[[Tensor, int], Tensor]


def doubles() -> Predict:
    return lambda inputs, full: 2 * inputs


def tells_its_settings() -> Predict:
    """Process, examples of a full batch, threads, and the cores as bits."""

    def predict(inputs: Tensor, full: int) -> Tensor:
        cores = affinity.cores() or []
        return torch.tensor([[os.getpid(), full, torch.get_num_threads(), sum(2**core for core in cores if core < 20)]])

    return predict


def first_waits_for(folder: str, last: int) -> Predict:
    """Inputs are numbers of batches: 0 is predicted only when `last` is."""

    def predict(inputs: Tensor, full: int) -> Tensor:
        number = int(inputs[0, 0])
        while number == 0 and not (Path(folder) / str(last)).exists():
            time.sleep(0.01)
        (Path(folder) / str(number)).touch()
        return inputs

    return predict


def dies(how: str, at: float, folder: str, times: int) -> Predict:
    """Whoever is given a batch with the number `at` in it dies, the first `times` times; each leaves a file."""

    def predict(inputs: Tensor, full: int) -> Tensor:
        if bool((inputs == at).any()) and len(list(Path(folder).iterdir())) < times:
            (Path(folder) / str(os.getpid())).touch()
            _die(how)
        return 2 * inputs

    return predict


def _die(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(3)
    elif how == "memory":
        torch.ones(2**50, dtype=torch.float64)
    raise ValueError("mat1 and mat2 shapes cannot be multiplied")


def cannot_load(how: str) -> Predict:
    if how == "altered":
        raise BadData("model.safetensors: the file was altered")
    _die(how)
    raise AssertionError("unreachable")


def starts_a_process_and_never_ends(folder: str) -> Predict:
    """Notes both processes in a folder."""

    def predict(inputs: Tensor, full: int) -> Tensor:
        child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")
        for pid in (os.getpid(), child):
            (Path(folder) / str(pid)).touch()
        time.sleep(1000)
        return inputs

    return predict
