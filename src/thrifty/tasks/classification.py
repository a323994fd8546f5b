"""What every task with classes shares: the loss, the scores of examples, and the metrics of a split."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from thrifty.measure.statistics import Interval, mean_interval, share_interval


def class_loss(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy in nats.

    Args:
        logits: shaped (..., classes).
        targets: class numbers, int64 shaped (...), or probabilities, shaped as the logits.
        weights: of each class.
    """
    flat = logits.float().reshape(-1, logits.shape[-1])
    answers = targets.float().reshape(flat.shape) if targets.is_floating_point() else targets.reshape(-1)
    return F.cross_entropy(flat, answers, weight=weights, label_smoothing=label_smoothing)


def class_scores(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """`loss` in nats, `correct`, `truth` (the class number) and `probability` (of each class), one row an example.

    Args:
        logits: shaped (examples, classes).
        targets: class numbers.
    """
    probability = logits.float().softmax(dim=-1)
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    correct = (probability.argmax(dim=-1) == targets).float()
    return {"loss": losses, "correct": correct, "truth": targets, "probability": probability}


def class_summary(scores: dict[str, np.ndarray]) -> dict[str, Interval]:
    """`accuracy` and `loss`, from what `class_scores` gave."""
    correct = scores["correct"]
    accuracy = share_interval(int(correct.sum()), len(correct))
    return {"accuracy": accuracy, "loss": mean_interval(scores["loss"]).at_least(0)}
