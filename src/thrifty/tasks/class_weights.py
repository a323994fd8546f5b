"""Weights that make rare classes count as much as frequent ones in the training loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def balanced_weights(truth: np.ndarray, classes: int) -> Tensor:
    """n / (classes * examples of the class) for each class, float32: together every class then weighs n / classes.

    Args:
        truth: class numbers of the training split; a class without any example weighs 1.
    """
    counts = np.bincount(truth, minlength=classes)
    weights = np.where(counts > 0, len(truth) / (classes * np.maximum(counts, 1)), 1.0)
    return torch.from_numpy(weights.astype(np.float32))


def describe_weights(weights: Tensor, labels: Sequence[str]) -> str:
    """A sentence for the reader of the summary."""
    least, most = int(weights.argmin()), int(weights.argmax())
    return (
        f"the training loss weighs classes by rows / (classes x rows of the class): from {weights[least]:.3g} "
        f"('{labels[least]}') to {weights[most]:.3g} ('{labels[most]}'); metrics do not"
    )
