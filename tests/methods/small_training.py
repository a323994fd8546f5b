"""Training of a handful of points as `method=train` does it, with a clock that only training moves."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thrifty.config.compose import compose
from thrifty.config.registry import load
from thrifty.config.schema import Config
from thrifty.events import Event
from thrifty.measure.statistics import Interval
from thrifty.methods.data_parallel import Alone
from thrifty.methods.module import TrainingModule
from thrifty.methods.monitor import Limits, TrainingMonitor, lightning_trainer
from thrifty.methods.sampler import BatchSampler, Calls
from thrifty.stop import StopRequest
from thrifty.tasks.base import Data

CPU = torch.device("cpu")


@cache
def config(*overrides: str) -> Config:
    """A tabular experiment's configuration."""
    return compose(["task=tabular", "regularizer.l2=0", *overrides])


class Clock:
    """Stands in for the module `time` where training is timed."""

    now = 500.0

    def perf_counter(self) -> float:
        return self.now


@contextmanager
def undisturbed() -> Iterator[None]:
    """Training in the tests' own process: it takes over the signals and tells of its seed; models this small want one thread."""
    signals = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    environment, threads = dict(os.environ), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)
        for one, handler in signals.items():
            signal.signal(one, handler)


class Points(Data):
    """Points in two classes; `before_loss` is called with the number of the loss, from 1, each time one is computed."""

    deciding = "accuracy"

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets
        self.sizes = dict.fromkeys(("train", "validation", "test"), len(inputs))
        self.shape = {"inputs": inputs.shape[1], "outputs": 1}
        self.fingerprint, self.about, self.flags = "", [], []
        self.losses: list[float] = []
        self.before_loss: Callable[[int], object] = lambda number: None
        self.before_batch: Callable[[], object] = lambda: None

    @classmethod
    def drawn(cls, count: int = 20) -> Points:
        """Points of which the sign of a weighted sum decides the class."""
        inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(5))
        return cls(inputs, (inputs @ torch.tensor([1.0, -2.0, 0.5]) > 0).float())

    def to(self, device: torch.device) -> None:
        assert device == CPU

    def batch(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        self.before_batch()
        index = draws % self.sizes[split]
        return self.inputs[index], self.targets[index]

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        self.before_loss(len(self.losses) + 1)
        smooth = targets * (1 - label_smoothing) + label_smoothing / 2
        loss = F.binary_cross_entropy_with_logits(outputs.squeeze(-1), smooth.to(outputs.dtype))
        self.losses.append(loss.item())
        return loss

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        raise AssertionError("training does not score")

    def summarise(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        raise AssertionError("training does not score")

    def state(self) -> dict[str, Any]:
        return {}


def mlp(*widths: int, inputs: int = 3, dropout: float = 0.0) -> nn.Module:
    """A fresh model, the same each time."""
    architecture = config(f"architecture.widths=[{','.join(map(str, widths))}]").architecture
    torch.manual_seed(11)
    return load("architecture", "mlp")(architecture, {"inputs": inputs, "outputs": 1}, dropout)


def nothing_found(model: nn.Module) -> dict[str, Interval]:
    """A validation that is not looked at."""
    return {"accuracy": Interval(0.5), "bits_per_byte": Interval(1.0), "loss": Interval(1.0)}


@dataclass
class Training:
    """A training to be, and what became of it."""

    model: nn.Module
    data: Any  # a task's, or `Points`, whose hooks a test may set
    overrides: tuple[str, ...] = ()
    steps: int = 4
    batch_size: int = 4
    steps_per_call: int | None = 1
    most_at_once: int | None = None
    validation_steps: set[int] = field(default_factory=set)
    history_steps: set[int] = field(default_factory=set)
    validate: Callable[[nn.Module], dict[str, Interval]] = nothing_found
    seconds: float | None = None
    target: float | None = None
    patience: int = 0
    events: list[Event] = field(default_factory=list)
    sampler: type[BatchSampler] = BatchSampler
    ranks: Alone = field(default_factory=Alone)

    def __post_init__(self) -> None:
        chosen = config(*self.overrides)
        wrapped = self.ranks.wrap(self.model)
        optimizer = load("optimizer", chosen.optimizer.name)(chosen.optimizer, self.model)
        factor = load("schedule", chosen.schedule.name)(chosen.schedule, self.steps)
        precision = load("precision", chosen.precision.name)(chosen.precision)
        assert chosen.optimizer.lr is not None
        self.module = TrainingModule(
            self.model,
            self.data,
            optimizer,
            chosen.optimizer.lr,
            factor,
            precision,
            chosen.regularizer,
            chosen.train.clip,
            ranks=self.ranks,
            wrapped=wrapped,
        )
        if self.most_at_once is not None:
            self.module.most_at_once = self.most_at_once
        sampler = self.sampler(self.data.sizes["train"], self.batch_size, 3, self.ranks.number, self.ranks.of)
        self.calls = Calls(sampler, self.steps, self.validation_steps, self.steps_per_call)
        self.stop = StopRequest()
        limits = Limits(self.seconds, self.target, self.patience, self.stop)
        validate = self.validate if self.ranks.number == 0 else None
        self.monitor = TrainingMonitor(
            self.calls,
            limits,
            validate,
            self.validation_steps,
            self.history_steps,
            self.data.deciding,
            self.events.append,
            ranks=self.ranks,
        )
        self.trace = self.monitor.trace

    def run(self, directory: Any = ".") -> Training:
        """Train through Lightning; writes nothing."""
        self.model.train()
        trainer = lightning_trainer(self.monitor, CPU, str(directory))
        with undisturbed(), self.stop.deferred():
            trainer.fit(self.module, train_dataloaders=self.calls)
        return self

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: one.detach().clone() for name, one in self.model.state_dict().items()}


def same_bits(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are equal to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(one, right[name]) for name, one in left.items())
