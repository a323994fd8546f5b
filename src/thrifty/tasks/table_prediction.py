"""Predictions for the rows of a file: every column it has, and one or two more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thrifty.errors import BadData, nearest
from thrifty.tasks.prediction_batches import Examples, Predictor, outputs_of
from thrifty.tasks.prediction_output import require_writable, write_predictions
from thrifty.tasks.preprocessing import Preprocessing
from thrifty.tasks.table_reading import Table, read_table
from thrifty.tasks.table_values import counted, listed

_LOG = logging.getLogger(__name__)


def predict_table(
    state: dict[str, Any], model: Predictor | Callable[[Tensor], Tensor], given: str, output: Path | None, batch_size: int
) -> str:
    """The work of `TabularTask.predict`."""
    require_writable(output, given)
    table = read_table(given, verbatim=True)
    preprocessing = Preprocessing.from_state(state["preprocessing"])
    _require_columns(table, preprocessing)
    read = preprocessing.read(table.frame, table.source, table.decimal)
    usable = read.notna().all(axis=1).to_numpy()
    inputs = torch.from_numpy(preprocessing.apply(read.loc[usable]))
    outputs = list(outputs_of(model, Examples(len(inputs), lambda first, end: inputs[first:end]), batch_size))
    width = len(state["labels"]) if state["kind"] == "multiclass" else 1
    found = _found(state, torch.cat(outputs) if outputs else torch.empty(0, width))
    text = _as_csv(table, found, usable)
    left_empty = int((~usable).sum())
    empty = f" ({counted(left_empty, 'row')} left empty, for missing values)" if left_empty else ""
    if output is None:
        if left_empty:  # what is returned is a table that a program may read: the count goes beside it
            _LOG.warning("%s: %d of %s left empty, for missing values", given, left_empty, counted(len(usable), "row"))
        return text
    write_predictions(output, text)
    return f"wrote {counted(len(inputs), 'prediction')} to {output}{empty}"


def _require_columns(table: Table, preprocessing: Preprocessing) -> None:
    has = [str(name) for name in table.frame.columns]
    missing = [name for name in preprocessing.columns if name not in has]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise BadData(
            f"{table.source}: has no column '{missing[0]}'{more}, which the model was trained on{nearest(missing[0], has)}; "
            f"it has: {listed(has)}"
        )


def _found(state: dict[str, Any], outputs: Tensor) -> dict[str, np.ndarray]:
    """The new columns, for the rows that have a prediction."""
    if state["kind"] == "regression":
        values = outputs.squeeze(-1).numpy().astype(np.float64)
        return {"prediction": values * state["scale"] + state["mean"]}
    if state["kind"] == "binary":
        second = torch.sigmoid(outputs.squeeze(-1))
        probabilities = torch.stack([1 - second, second], dim=-1)
    else:
        probabilities = torch.softmax(outputs, dim=-1)
    best, classes = probabilities.max(dim=-1)
    labels = np.array(state["labels"], dtype=object)[classes.numpy()]
    return {"prediction": labels, "probability": best.numpy().astype(np.float64)}


def _as_csv(table: Table, found: dict[str, np.ndarray], usable: np.ndarray) -> str:
    """The input's columns as they were and the new ones, in the input's style, so that it opens where the input did."""
    frame = table.frame.copy()
    taken = [str(one) for one in frame.columns]
    for name, values in found.items():
        column = np.full(len(frame), "", dtype=object)
        # Formatted here and not by to_csv, which would cut the digits of the input's own numbers too.
        column[usable] = values if values.dtype == object else [f"{one:.7g}".replace(".", table.decimal) for one in values]
        frame[_free_name(name, taken)] = column
    return frame.to_csv(None, index=False, sep=table.separator, lineterminator="\n")


def _free_name(name: str, taken: list[str]) -> str:
    """The name, numbered where the input already has a column of that name."""
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free
