"""What every task gives: data in three splits, a loss, scores for each example, and predictions for new data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.tasks import Task as TaskConfig
from thrifty.measure.statistics import Interval

SPLITS = ("train", "validation", "test")


class Data(ABC):
    """A task's examples, read, split and ready to be drawn from.

    Examples of a split are numbered from 0; `batch` takes *draws*: example + examples in the split * epoch, so that a task
    may show an example differently in each epoch (a text shifts its windows) while staying a pure function of the draw.
    """

    deciding: str
    """Name of the deciding metric."""
    has_classes: bool
    """Whether the targets are classes, whose probabilities can be smoothed."""
    sizes: dict[str, int]
    """Examples in each split."""
    shape: dict[str, int]
    """What an architecture must know of the data: `vocabulary`, or `inputs` and `outputs`."""
    fingerprint: str
    """sha256 of the data as read, in hex."""
    about: list[str]
    """Sentences for the reader of the summary: what was read, dropped, treated how."""
    flags: list[str]
    """Flags for the record."""
    most_at_once: int = 16384
    """Most examples in one forward pass of an evaluation, or of a batch of the whole split, whose gradients are summed."""

    @abstractmethod
    def to(self, device: torch.device) -> None:
        """Put what `batch` reads on the device, where it fits."""

    @abstractmethod
    def batch(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the drawn examples, on the device.

        Args:
            draws: int64 of any shape; its dimensions lead those of both results.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Mean loss over a batch, in nats: cross-entropy; of a regression half the squared error in standardised units, which is, but for
        a constant, that of a normal distribution around the prediction.
        """

    @abstractmethod
    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """What the metrics need, a number or a row of them an example; the first dimension of each is the batch's."""

    @abstractmethod
    def summarise(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """Metrics of a split, by their names in the contract, from the scores of its examples; always has `loss`."""

    def glance(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """The same metrics, without those intervals that take time: for a split looked at many times while training."""
        return self.summarise(scores)

    def untold(self, scores: dict[str, np.ndarray]) -> dict[str, str]:
        """Metrics that `summarise` leaves out of this split, each with the reason."""
        return {}

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What prediction needs beside the weights, as JSON can hold it."""


class Task(ABC):
    """One value of the `task` group."""

    predicts: ClassVar[str]
    """What `thrifty predict` takes and gives, in a few words."""

    def __init__(self, config: TaskConfig, store: Path | None = None) -> None:
        """
        Args:
            store: whose cache may keep what takes long to read; None keeps nothing.
        """
        self.config, self.store = config, store

    @abstractmethod
    def prepare(self, architecture: Architecture) -> Data:
        """Read and split the data.

        Raises:
            BadData: a file that is missing, empty or unusable; the message names file, row and column where there are any.
        """

    @classmethod
    @abstractmethod
    def predict(
        cls,
        state: dict[str, Any],
        model: Any,
        given: str,
        output: Path | None,
        options: dict[str, Any],
    ) -> str:
        """Predictions for new data.

        Args:
            state: what `Data.state` gave when the model was trained.
            model: of tasks whose examples do not depend on each other, inputs of a batch -> outputs of a batch, under the run's
                precision, or a `Predictor`, which chooses the batches; of sequences one that `Continues`.
            given: a file, or for text a prompt.
            output: where to write; None returns the result to be printed.
            options: of the command line: `batch_size`, unless the model chooses it, and for text `length`, `temperature`, `seed`.

        Returns:
            What to print: the predictions, or one line that says where they are.
        """
