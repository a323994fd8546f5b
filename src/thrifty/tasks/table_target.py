"""The column to predict: what kind it is, its classes or its scale, and how rows are split by it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.model_selection import train_test_split

from thrifty.config.choices.tasks import Kind, Tabular
from thrifty.errors import BadData
from thrifty.tasks.table_values import as_numbers, as_texts, counted, listed, number_text

MOST_AUTOMATIC_CLASSES = 20
FEWEST_OF_A_CLASS = 3


@dataclass(frozen=True)
class Target:
    """A target column, read."""

    name: str
    kind: str
    """binary, multiclass or regression."""
    labels: list[str]
    """The classes, sorted, in the order of their numbers; empty for regression."""
    values: np.ndarray
    """Class numbers, or amounts as float64."""


def read_target(column: pd.Series, kind: Kind, source: str, decimal: str) -> Target:
    """Decide what a target is and number its classes.

    Args:
        column: without missing values, indexed by the row of the file.

    Raises:
        BadData: one value only, too few rows of a class, or values that `kind` does not allow.
    """
    name, numeric = str(column.name), is_numeric_dtype(column.dtype)
    if column.nunique() < 2:
        raise BadData(
            f"{source}: column '{name}' is '{_label(column.iloc[0])}' in every row; a target needs two values or more"
        )
    if kind is Kind.regression or (kind is Kind.auto and numeric and not _looks_like_classes(column)):
        amounts = as_numbers(column, source, decimal).to_numpy(dtype=np.float64)
        return Target(name, "regression", [], amounts)
    # Numbers are sorted as numbers, so that class 2 comes before class 10.
    codes, found = pd.factorize(column if numeric else as_texts(column), sort=True)
    labels = [_label(one) for one in found]
    if kind is Kind.binary and len(labels) != 2:
        raise BadData(
            f"{source}: task.kind=binary, but column '{name}' has {len(labels)} values: {listed(labels)}; "
            f"give task.kind={'multiclass' if len(labels) <= MOST_AUTOMATIC_CLASSES else 'regression'} or another task.target"
        )
    counts = np.bincount(codes)
    if counts.min() < FEWEST_OF_A_CLASS:
        few = int(counts.argmin())
        others = int((counts < FEWEST_OF_A_CLASS).sum()) - 1
        raise BadData(
            f"{source}: class '{labels[few]}' of column '{name}' has {counted(int(counts[few]), 'row')}"
            + (f", and {counted(others, 'other class', 'other classes')} too few as well" if others else "")
            + f"; each needs {FEWEST_OF_A_CLASS}, one for each split: add rows, take those out"
            + (", or give task.kind=regression" if numeric else "")
        )
    chosen = "binary" if len(labels) == 2 and kind is not Kind.multiclass else "multiclass"
    return Target(name, chosen, labels, codes.astype(np.int64))


def describe(target: Target, automatic: bool, numeric: bool) -> list[str]:
    """Sentences about the target: its classes and what always guessing gives, or its range."""
    if target.kind == "regression":
        low, high, mean = (number_text(float(f"{one:.4g}")) for one in _range(target.values))
        return [f"target '{target.name}': numbers from {low} to {high}, mean {mean}"]
    counts = Counter(target.values.tolist())
    shares = [counts[number] / len(target.values) for number in range(len(target.labels))]
    shown = listed([f"{label} {100 * share:.0f}%" for label, share in zip(target.labels, shares, strict=True)], 6)
    about = [f"target '{target.name}': {len(target.labels)} classes ({shown})"]
    most = int(np.argmax(shares))
    if shares[most] >= 0.6:
        about.append(f"always answering '{target.labels[most]}' is right in {100 * shares[most]:.1f}% of the rows")
    if automatic and numeric:
        about.append("the target's few whole numbers are taken as classes; task.kind=regression takes them as amounts")
    return about


def split_rows(target: Target, config: Tabular, source: str) -> dict[str, np.ndarray]:
    """Places of the rows of each split: disjoint, all rows together, in random order, every class in its share.

    Raises:
        BadData: too few rows for the shares.
    """
    rows = len(target.values)
    held = {"test": max(1, round(rows * config.test)), "validation": max(1, round(rows * config.validation))}
    left: np.ndarray = np.arange(rows)
    splits: dict[str, np.ndarray] = {}
    for split, size in held.items():
        classes = target.values[left] if target.labels else None
        try:
            parts: list[Any] = train_test_split(left, test_size=size, random_state=config.split_seed, stratify=classes)
            left, splits[split] = parts
        except ValueError as error:  # scikit-learn cannot put every class on both sides
            raise _too_few(target, held, source) from error
    if target.labels and len(np.unique(target.values[left])) < len(target.labels):
        raise _too_few(target, held, source)
    return {"train": left, **splits}


def _too_few(target: Target, held: dict[str, int], source: str) -> BadData:
    if not target.labels:
        return BadData(f"{source}: {len(target.values)} rows leave none to train on; lower task.test or task.validation")
    counts = np.bincount(target.values)
    rarest = int(counts.argmin())
    return BadData(
        f"{source}: {len(target.values)} rows of {len(target.labels)} classes do not fill the splits: class "
        f"'{target.labels[rarest]}' has {counts[rarest]} rows, test {held['test']}, validation {held['validation']}; add rows, "
        "or change task.test and task.validation"
    )


def _looks_like_classes(column: pd.Series) -> bool:
    values = column.unique()
    return (
        len(values) <= MOST_AUTOMATIC_CLASSES and bool(np.isfinite(values).all()) and bool((values == np.floor(values)).all())
    )


def _label(value: object) -> str:
    return number_text(float(value)) if isinstance(value, (int, float, np.number)) else str(value)


def _range(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.min()), float(values.max()), float(values.mean())
