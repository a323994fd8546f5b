"""What every task with classes shares: the loss, the scores of examples, and the metrics of a split."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from thrifty.measure.class_quality import class_intervals, untold
from thrifty.measure.statistics import Interval, mean_interval, share_interval


def class_loss(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy in nats.

    Args:
        logits: shaped (..., classes).
        targets: class numbers, int64 shaped (...), or probabilities, shaped as the logits.
        weights: of each class, float32; the mean is then over the targets' weights (over examples for probabilities), as
            `torch.nn.functional.cross_entropy` has it.
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
    logits = logits.float()
    probability = logits.softmax(dim=-1)
    # By the probabilities and not the logits, which may differ where these round to one number: every metric sees one answer.
    correct = probability.argmax(dim=-1) == targets
    losses = F.cross_entropy(logits, targets, reduction="none")
    return {"loss": losses, "correct": correct.float(), "truth": targets, "probability": probability}


def class_summary(scores: dict[str, np.ndarray], resamples: int | None = None) -> dict[str, Interval]:
    """Metrics from what `class_scores` gave: `accuracy`, `loss`, `f1_macro`, `worst_class_accuracy`, `auroc`,
    `calibration_error`; the last four only where they can be told (see `class_intervals`).

    Args:
        resamples: of the bootstrap for the last four; None makes as many as they need, 0 none, and so no interval.
    """
    correct = scores["correct"]
    return {
        "accuracy": share_interval(int(correct.sum()), len(correct)),
        "loss": mean_interval(scores["loss"]).at_least(0),
        **class_intervals(scores["probability"], scores["truth"], resamples),
    }


def class_metrics_untold(scores: dict[str, np.ndarray]) -> dict[str, str]:
    """Why `class_summary` leaves out what it does, by metric."""
    return untold(scores["probability"], scores["truth"])
