"""A column of a table predicted from the others: two classes, several, or a number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import Tensor

from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.tasks import ClassWeights, Kind, Tabular
from thrifty.errors import BadConfiguration, BadData
from thrifty.measure.statistics import Interval, bootstrap_interval, mean_interval
from thrifty.tasks.base import SPLITS, Data, Task
from thrifty.tasks.class_weights import balanced_weights, describe_weights
from thrifty.tasks.classification import class_loss, class_metrics_untold, class_scores, class_summary
from thrifty.tasks.prediction_batches import Predictor
from thrifty.tasks.preprocessing import fit
from thrifty.tasks.table_columns import select
from thrifty.tasks.table_prediction import predict_table
from thrifty.tasks.table_reading import Table, file_fingerprint, read_table
from thrifty.tasks.table_target import Target, describe, read_target, split_rows
from thrifty.tasks.table_values import column_of, listed

BUILT_IN = "the built-in breast cancer table"
BUILT_IN_TARGET = "diagnosis"
# A bootstrap costs rows times resamples: few rows get 1000 resamples, many rows fewer, as their intervals need no more.
_BOOTSTRAP_DRAWS, _FEWEST_RESAMPLES = 10_000_000, 200


class TableData(Data):
    """The rows of a table as tensors, in three splits.

    Args:
        target: of all rows; its `values` number the classes or are the amounts.
        features: the rows' columns, without missing values.
        splits: places of the rows of each split.
        columns: names of the numeric columns, of the columns of categories, and of those that get log(x+1).
        balanced: whether the training loss weighs rare classes more, so that each counts the same.
    """

    def __init__(
        self,
        target: Target,
        features: pd.DataFrame,
        splits: dict[str, np.ndarray],
        columns: tuple[list[str], list[str], list[str]],
        fingerprint: str,
        balanced: bool = False,
    ) -> None:
        self.kind, self.target, self.labels = target.kind, target.name, target.labels
        self.preprocessing, about = fit(features.iloc[splits["train"]], *columns)
        self.mean, self.scale, values = _standardised(target, splits["train"])
        self.device = self._home = torch.device("cpu")
        self._inputs: dict[str, Tensor] = {}
        self._targets: dict[str, Tensor] = {}
        for split in SPLITS:
            self._inputs[split] = torch.from_numpy(self.preprocessing.apply(features.iloc[splits[split]]))
            self._targets[split] = torch.from_numpy(values[splits[split]])
        self.has_classes = self.kind != "regression"
        self.deciding = "accuracy" if self.has_classes else "r2"
        self.sizes = {split: len(splits[split]) for split in SPLITS}
        outputs = len(self.labels) if self.kind == "multiclass" else 1
        self.shape = {"inputs": self.preprocessing.inputs, "outputs": outputs}
        self.fingerprint = fingerprint
        self.about = about
        self.flags = []
        self.class_weights: Tensor | None = None
        if balanced:
            self.class_weights = balanced_weights(target.values[splits["train"]], len(self.labels))
            self.about = [*about, describe_weights(self.class_weights, self.labels)]

    def to(self, device: torch.device) -> None:
        """Keep the table on the device if it takes no more than half of the free memory, else send batches there."""
        self.device = self._home = device
        if device.type == "cuda":
            needed = sum(one.nbytes for one in (*self._inputs.values(), *self._targets.values()))
            if needed > torch.cuda.mem_get_info(device)[0] / 2:
                self._home = torch.device("cpu")
        for split in SPLITS:
            self._inputs[split] = self._inputs[split].to(self._home)
            self._targets[split] = self._targets[split].to(self._home)
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(device)

    def batch(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Rows by number; an epoch shows each as the last did."""
        index = (draws.to(self._home) % self.sizes[split]).reshape(-1)
        inputs = self._inputs[split].index_select(0, index).view(*draws.shape, self.shape["inputs"])
        targets = self._targets[split].index_select(0, index).view(draws.shape)
        return inputs.to(self.device), targets.to(self.device)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy on logits, or half the squared error; label smoothing is for classes only, and class weights are."""
        outputs = outputs.float()
        if self.kind == "multiclass":
            return class_loss(outputs, targets, label_smoothing, self.class_weights)
        if self.class_weights is not None:
            return class_loss(_logits(outputs), targets.long(), label_smoothing, self.class_weights)
        outputs = outputs.squeeze(-1)
        if self.kind == "binary":
            if label_smoothing:
                targets = targets * (1 - label_smoothing) + label_smoothing / 2
            return F.binary_cross_entropy_with_logits(outputs, targets)
        return F.mse_loss(outputs, targets) / 2

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Those of `class_scores`; of amounts `loss`, and `error` and `truth` in the target's unit."""
        outputs = outputs.float()
        if self.kind == "multiclass":
            return class_scores(outputs, targets)
        if self.kind == "binary":
            return class_scores(_logits(outputs), targets.long())
        errors = outputs.squeeze(-1) - targets
        return {"loss": errors.square() / 2, "error": errors * self.scale, "truth": targets * self.scale + self.mean}

    def summarise(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """Those of `class_summary`, or `r2`, `rmse`, `mae` and `loss`."""
        if self.has_classes:
            return class_summary(scores)
        return _of_amounts(scores, max(_FEWEST_RESAMPLES, min(1000, _BOOTSTRAP_DRAWS // len(scores["error"]))))

    def glance(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """The same without a bootstrap's intervals."""
        return class_summary(scores, resamples=0) if self.has_classes else _of_amounts(scores, resamples=0)

    def untold(self, scores: dict[str, np.ndarray]) -> dict[str, str]:
        """Those of `class_metrics_untold`, where there are classes."""
        return class_metrics_untold(scores) if self.has_classes else {}

    def state(self) -> dict[str, Any]:
        """The target's classes or scale, and how columns become inputs."""
        return {
            "kind": self.kind,
            "target": self.target,
            "labels": self.labels,
            "mean": self.mean,
            "scale": self.scale,
            "preprocessing": self.preprocessing.state(),
        }


class TabularTask(Task):
    """A table of the user's own, or scikit-learn's breast cancer data."""

    predicts: ClassVar[str] = "a CSV or Parquet file with the training columns -> the same as CSV, a prediction in each row"

    def prepare(self, architecture: Architecture) -> TableData:
        """Read, choose columns, drop rows with missing values, split, and fit the preprocessing on the training rows."""
        config = self.config
        assert isinstance(config, Tabular)
        if config.path is None:
            table, target_name = _built_in(config)
            fingerprint = _frame_fingerprint(table.frame)
        else:
            table, fingerprint = read_table(config.path), file_fingerprint(config.path)
            if config.target is None:
                names = listed([str(name) for name in table.frame.columns], 30)
                raise BadConfiguration(f"task.path={config.path} needs task.target, the column to predict, one of: {names}")
            target_name = config.target
        selection = select(table, target_name, config)
        column = column_of(selection.frame, target_name)
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        target = read_target(column, config.kind, table.source, table.decimal)
        balanced = config.class_weights is ClassWeights.balanced
        if balanced and target.kind == "regression":
            raise BadConfiguration(
                f"task.class_weights=balanced: weighs classes, and the target '{target.name}' is a number; leave it out"
            )
        splits = split_rows(target, config, table.source)
        columns = (selection.numeric, selection.categorical, selection.log1p)
        data = TableData(target, selection.frame, splits, columns, fingerprint, balanced)
        if not data.preprocessing.inputs:
            raise BadData(
                f"{table.source}: no column but '{target_name}' differs between training rows; there is nothing to learn from"
            )
        read = f"{table.source}: {len(selection.frame)} rows, {len(data.preprocessing.columns)} columns to learn from"
        data.about = [read, *describe(target, config.kind is Kind.auto, numeric), *table.about, *selection.about, *data.about]
        return data

    @classmethod
    def predict(
        cls,
        state: dict[str, Any],
        model: Predictor | Callable[[Tensor], Tensor],
        given: str,
        output: Path | None,
        options: dict[str, Any],
    ) -> str:
        """Every row of the file with its columns as they were, the prediction, and for classes its probability."""
        return predict_table(state, model, given, output, int(options.get("batch_size") or 1024))


def _built_in(config: Tabular) -> tuple[Table, str]:
    """Wisconsin diagnostic breast cancer, as scikit-learn brings it, and the column to predict."""
    bunch: Any = load_breast_cancer()
    frame = pd.DataFrame(bunch.data, columns=[str(name) for name in bunch.feature_names])
    frame[BUILT_IN_TARGET] = pd.Series(bunch.target_names[bunch.target], dtype="string")
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return Table(BUILT_IN, frame), config.target or BUILT_IN_TARGET


def _frame_fingerprint(frame: pd.DataFrame) -> str:
    """sha256 of names and values."""
    found = hashlib.sha256()
    for name, column in frame.items():
        found.update(f"{name}\n".encode())
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        found.update(column.to_numpy(dtype="<f8").tobytes() if numeric else "\n".join(column).encode())
    return found.hexdigest()


def _standardised(target: Target, training: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Mean and scale of an amount in the training rows, and the values as the loss takes them."""
    if target.kind == "multiclass":
        return 0.0, 1.0, target.values
    if target.kind == "binary":
        return 0.0, 1.0, target.values.astype(np.float32)
    mean, scale = float(target.values[training].mean()), float(target.values[training].std())
    scale = scale or 1.0  # all training rows alike: nothing to scale by
    return mean, scale, ((target.values - mean) / scale).astype(np.float32)


def _logits(outputs: Tensor) -> Tensor:
    """Of two classes, from the one number that a model gives for the second; shaped (..., 2)."""
    return torch.cat([torch.zeros_like(outputs), outputs], dim=-1)


def _of_amounts(scores: dict[str, np.ndarray], resamples: int) -> dict[str, Interval]:
    pairs = np.stack([scores["error"], scores["truth"]], axis=1).astype(np.float64)
    return {
        "r2": bootstrap_interval(_r2, pairs, resamples),
        "rmse": bootstrap_interval(lambda drawn: float(np.sqrt(np.mean(drawn[:, 0] ** 2))), pairs, resamples),
        "mae": mean_interval(np.abs(pairs[:, 0])).at_least(0),
        "loss": mean_interval(scores["loss"]).at_least(0),
    }


def _r2(pairs: np.ndarray) -> float:
    """Share of the truth's variance explained; where that is zero, as scikit-learn has it: 1 if every error is 0, else 0."""
    error, spread = float((pairs[:, 0] ** 2).sum()), float(((pairs[:, 1] - pairs[:, 1].mean()) ** 2).sum())
    return 1 - error / spread if spread > 0 else float(error == 0)
