"""Byte-level language modelling."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.tasks import Task as TaskConfig
from thrifty.errors import BadData
from thrifty.measure.statistics import Interval, mean_interval
from thrifty.tasks.base import SPLITS, Data, Task
from thrifty.tasks.corpus import Corpus, read_corpus, readable_size
from thrifty.tasks.generation import Continues, continue_prompt
from thrifty.tasks.windows import Windows, block_count, split_ranges

VOCABULARY = 256
LARGEST_ON_DEVICE = 2 * 1024**3
"""A longer stream stays where it is mapped; its windows are gathered by the CPU and copied."""


class TextData(Data):
    """Windows of a stream of bytes; the targets are the inputs one byte further."""

    deciding = "bits_per_byte"
    has_classes = True
    most_at_once = 64

    def __init__(self, corpus: Corpus, config: TaskConfig, context: int) -> None:
        size, least = len(corpus.stream), len(SPLITS) * (context + 1)
        if size < least:
            raise BadData(
                f"{corpus.name}: has {size} bytes, and architecture.context={context} needs at least {least}, {context + 1} "
                f"for each of {', '.join(SPLITS)}; give more text or a smaller architecture.context"
            )
        blocks = block_count(size, context)
        self.ranges = split_ranges(size, blocks, config.validation, config.test, config.split_seed)
        """Bytes (begin, end) of the stream that belong to each split."""
        self.context = context
        self._device = torch.device("cpu")
        self._see(corpus.stream)
        # Only training is shifted: validation and test are to be the same windows each time.
        windows = {split: Windows(self.ranges[split], context, shifted=split == "train") for split in SPLITS}
        self._windows = {self._device: windows}
        self.sizes = {split: windows[split].count for split in SPLITS}
        self.shape = {"vocabulary": VOCABULARY, "context": context}
        self.fingerprint = corpus.fingerprint
        shares = [100 * sum(end - begin for begin, end in self.ranges[split]) / size for split in SPLITS]
        self.about = [
            *corpus.about,
            f"{' / '.join(f'{share:.0f}' for share in shares)} % of {readable_size(size)} in {blocks} blocks "
            f"for training, validation, test",
        ]
        self.flags = list(corpus.flags)

    def to(self, device: torch.device) -> None:
        """Move the stream to a CUDA device it is not too large for; batches come to any device."""
        # A device without a number, `cuda`, is the current one; draws on it will name its number.
        self._device = torch.empty(0, device=device).device
        self._windows.setdefault(
            self._device, {split: windows.to(self._device) for split, windows in self._windows[torch.device("cpu")].items()}
        )
        # Not to mps, which would copy the overlapping windows out before it picks any.
        if self._device.type == "cuda" and len(self._stream) < LARGEST_ON_DEVICE:
            self._see(self._stream.to(self._device))

    def batch(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Windows of bytes, and the same one byte further, as int64 shaped (*draws.shape, context)."""
        windows = self._windows.get(draws.device)
        if windows is None:
            draws, windows = draws.cpu(), self._windows[torch.device("cpu")]
        starts = _moved(windows[split].starts(draws), self._stream.device)
        drawn = _moved(self._every_window[starts], self._device)
        return drawn[..., :-1].long(), drawn[..., 1:].long()

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy in nats a byte."""
        return F.cross_entropy(outputs.flatten(0, -2).float(), targets.flatten(), label_smoothing=label_smoothing)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """`loss`: each window's mean cross entropy in nats a byte."""
        losses = F.cross_entropy(outputs.flatten(0, -2).float(), targets.flatten(), reduction="none")
        return {"loss": losses.view(targets.shape).mean(-1)}

    def summarise(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """`bits_per_byte` and `loss`, the same in nats."""
        loss = mean_interval(scores["loss"]).at_least(0)
        return {"bits_per_byte": loss.scaled(1 / math.log(2)), "loss": loss}

    def state(self) -> dict[str, Any]:
        """The shape, which is all that generation needs."""
        return dict(self.shape)

    def _see(self, stream: Tensor) -> None:
        self._stream = stream
        # A view in which row s begins at byte s: picking rows needs no index for each byte.
        self._every_window = stream.unfold(0, self.context + 1, 1)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    # Not waiting is safe only on the way to the GPU: on the way back the CPU would read what has not arrived.
    return tensor.to(device, non_blocking=device.type == "cuda")


class TextTask(Task):
    """Predict the next byte of a text."""

    predicts: ClassVar[str] = "a prompt, a file that holds one, or - for standard input -> the text continued"

    def prepare(self, architecture: Architecture) -> TextData:
        """Map the text, and cut it into windows of the architecture's context."""
        context = getattr(architecture, "context", None)
        assert isinstance(context, int), f"architecture={architecture.name} has no context"
        return TextData(read_corpus(self.config.path), self.config, context)

    @classmethod
    def predict(
        cls,
        state: dict[str, Any],
        model: Continues,
        given: str,
        output: Path | None,
        options: dict[str, Any],
    ) -> str:
        """The prompt `given`, continued."""
        return continue_prompt(model, given, output, options)
