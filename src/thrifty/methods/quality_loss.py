"""What one model lost against another on the same examples of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from thrifty.errors import BadData
from thrifty.measure.loss_bound import QualityLoss, quality_loss
from thrifty.measure.paired_metrics import DIFFERENCES
from thrifty.measure.statistics import Interval
from thrifty.metrics import metric

if TYPE_CHECKING:
    from thrifty.tasks.base import Data

Scores = dict[str, np.ndarray]


def difference_between(data: Data, first: Scores, second: Scores) -> Interval:
    """The second model's deciding metric minus the first's.

    Raises:
        BadData: the examples do not tell the metric.
    """
    name = data.deciding
    score, difference = DIFFERENCES[name]
    found = difference(first, second) if score in first else None
    if found is None:
        raise BadData(f"{name}: the examples do not tell it, so that no loss of it can be bounded; give more data")
    return found.difference


def loss_between(data: Data, first: Scores, second: Scores) -> QualityLoss:
    """Points of the deciding metric that the second model is worse.

    Raises:
        BadData: the examples do not tell the metric.
    """
    declared = metric(f"validation/{data.deciding}")
    value = data.glance(first)[data.deciding].value
    return quality_loss(difference_between(data, first, second), declared.better, declared.fraction, value)
