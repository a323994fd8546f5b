"""What is done to a table's columns before a model sees them: fitted on the training split, kept, and applied alike ever after.

Numbers: log(x+1) where asked, then standardised by mean and standard deviation. Texts: one input for each category.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from thrifty.tasks.table_values import as_numbers, as_texts, column_of, counted, listed, require_finite, require_log1p

MOST_CATEGORIES = 64
# float32 ends at 3e38. Values this many standard deviations out are alike to any model, and must not become infinite.
_FARTHEST = 1e9


@dataclass(frozen=True)
class NumericColumn:
    """A column that becomes one input."""

    name: str
    log1p: bool
    mean: float
    scale: float
    """Standard deviation, as of a whole population."""


@dataclass(frozen=True)
class CategoryColumn:
    """A column that becomes one input a category; a category not seen in training is none of them."""

    name: str
    categories: list[str]
    other: bool
    """One more input, for every category that is not among the most frequent."""


@dataclass(frozen=True)
class Preprocessing:
    """The columns in use, in the order of the model's inputs."""

    numeric: list[NumericColumn]
    categorical: list[CategoryColumn]

    @property
    def columns(self) -> list[str]:
        """Names of the columns that a table must have."""
        return [one.name for one in (*self.numeric, *self.categorical)]

    @property
    def inputs(self) -> int:
        """Numbers that a row becomes."""
        return len(self.numeric) + sum(len(one.categories) + one.other for one in self.categorical)

    def read(self, frame: pd.DataFrame, source: str, decimal: str = ".") -> pd.DataFrame:
        """The columns in use, as numbers and texts, missing values marked.

        Raises:
            BadData: a value that is no number, or that is infinite, or that log(x+1) cannot take; names column and row.
        """
        columns = {one.name: as_numbers(column_of(frame, one.name), source, decimal) for one in self.numeric}
        columns |= {one.name: as_texts(column_of(frame, one.name)) for one in self.categorical}
        read = pd.DataFrame(columns, index=frame.index)
        require_finite(read, source)
        for one in self.numeric:
            if one.log1p:
                require_log1p(column_of(read, one.name), source)
        return read

    def apply(self, frame: pd.DataFrame) -> np.ndarray:
        """Inputs of the model, float32, one row a row, for a table that `read` has passed and that has no missing values."""
        inputs = np.zeros((len(frame), self.inputs), dtype=np.float32)
        for place, one in enumerate(self.numeric):
            values = _transformed(column_of(frame, one.name), one.log1p)
            with np.errstate(over="ignore"):
                inputs[:, place] = np.clip((values - one.mean) / one.scale, -_FARTHEST, _FARTHEST)
        first = len(self.numeric)
        for one in self.categorical:
            numbers = pd.Index(one.categories).get_indexer(pd.Index(column_of(frame, one.name).to_numpy(dtype=object)))
            if one.other:
                numbers = np.where(numbers < 0, len(one.categories), numbers)
            known = (numbers >= 0).nonzero()[0]
            inputs[known, first + numbers[known]] = 1.0
            first += len(one.categories) + one.other
        return inputs

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Preprocessing:
        """What `state` gave."""
        return cls([NumericColumn(**one) for one in state["numeric"]], [CategoryColumn(**one) for one in state["categorical"]])


def fit(
    training: pd.DataFrame, numeric: list[str], categorical: list[str], log1p: list[str]
) -> tuple[Preprocessing, list[str]]:
    """Learn the statistics of the training rows, which have no missing values, and say what was decided.

    A column that is the same in all of them is left out: it cannot tell rows apart, and has no scale.
    """
    constant: list[str] = []
    numbers: list[NumericColumn] = []
    for name in numeric:
        values = _transformed(column_of(training, name), name in log1p)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(values.mean()), float(values.std())
        # The mean of equal numbers may be a hair beside them: compare the numbers. A scale may overflow, or vanish.
        if values.min() == values.max() or not np.isfinite([mean, scale]).all() or scale == 0:
            constant.append(name)
        else:
            numbers.append(NumericColumn(name, name in log1p, mean, scale))
    texts: list[CategoryColumn] = []
    for name in categorical:
        counts = column_of(training, name).value_counts()
        # Ties in frequency are settled by name, so that the same rows in another order give the same inputs.
        ranked = sorted(((str(one), int(times)) for one, times in counts.items()), key=lambda pair: (-pair[1], pair[0]))
        if len(ranked) < 2:
            constant.append(name)
        else:
            kept = sorted(one for one, _ in ranked[:MOST_CATEGORIES])
            texts.append(CategoryColumn(name, kept, len(ranked) > MOST_CATEGORIES))
    return Preprocessing(numbers, texts), _about(numbers, texts, constant)


def _about(numbers: list[NumericColumn], texts: list[CategoryColumn], constant: list[str]) -> list[str]:
    about = []
    if numbers:
        about.append(f"log1p on {sum(one.log1p for one in numbers)} of {counted(len(numbers), 'numeric column')}")
    if texts:
        inputs = sum(len(one.categories) + one.other for one in texts)
        names = listed([one.name for one in texts])
        about.append(f"{counted(len(texts), 'column')} of categories ({names}) as {inputs} inputs of 0 or 1")
    if capped := [one.name for one in texts if one.other]:
        about.append(f"only the {MOST_CATEGORIES} most frequent categories are told apart in: {listed(capped)}")
    if constant:
        about.append(f"left out, the same in every training row: {listed(constant)}")
    return about


def _transformed(column: pd.Series, log1p: bool) -> np.ndarray:
    values = column.to_numpy(dtype=np.float64)
    return np.log1p(values) if log1p else values
