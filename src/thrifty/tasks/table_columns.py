"""Which columns of a table a model learns from, and as what: the user's words first, then a look at the values."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from pandas.api.types import is_numeric_dtype

from thrifty.config.choices.tasks import Tabular
from thrifty.errors import BadConfiguration, BadData, nearest
from thrifty.tasks.table_reading import Table
from thrifty.tasks.table_values import as_numbers, as_texts, column_of, listed, require_finite, require_log1p

FEWEST_ROWS = 20
# A text column with no value twice, or with more distinct values than this in more than half of its rows, names rows instead of
# describing them.
_FEWEST_IDENTIFIERS = 64
_IDENTIFIER_SHARE = 0.5
_MANY_DROPPED = 0.2
"""Share of the rows above which dropping them is worth a hint at the column that costs most."""


@dataclass(frozen=True)
class Selection:
    """The rows and columns that are learned from."""

    frame: pd.DataFrame
    """Features and target without missing values, indexed by the row of the file."""
    numeric: list[str]
    categorical: list[str]
    log1p: list[str]
    about: list[str]


def select(table: Table, target: str, config: Tabular) -> Selection:
    """Leave out what cannot be used, and say so.

    Raises:
        BadData: a name that is no column, nothing left to learn from, a number that cannot be used.
    """
    frame, about = table.frame, []
    names = [str(name) for name in frame.columns]
    _require(table, names, "task.target", [target])
    _require(table, names, "task.ignore", config.ignore)
    _require(table, names, "task.numeric", config.numeric)
    if target in config.ignore:
        raise BadConfiguration(f"task.ignore has '{target}', which is task.target: take it out of one of the two")
    numbers = {
        name: as_numbers(column_of(frame, name), table.source, table.decimal)
        for name in config.numeric
        if name not in config.ignore
    }
    frame = frame.drop(columns=config.ignore).assign(**numbers)
    features = [str(name) for name in frame.columns if name != target]
    if numbering := [name for name in features if name == "column 1" and _numbers_rows(column_of(frame, name))]:
        about.append("left out the first column, which has no name and numbers the rows")
    if identifiers := [name for name in features if _names_rows(column_of(frame, name))]:
        about.append(f"left out, a different text in most rows: {listed(identifiers)}")
    features = [name for name in features if name not in numbering and name not in identifiers]
    if not features:
        raise BadData(f"{table.source}: no column is left to predict '{target}' from; give a table with more columns")
    used = frame.loc[:, [*features, target]]
    complete = used.dropna()
    if dropped := len(frame) - len(complete):
        where = _where_most_are_missing(used)
        if not len(complete):
            raise BadData(f"{table.source}: every row has a missing value, {where}")
        hint = f", {where}" if dropped > _MANY_DROPPED * len(frame) else ""
        about.append(f"dropped {dropped} of {len(frame)} rows with missing values{hint}")
    if len(complete) < FEWEST_ROWS:
        raise BadData(
            f"{table.source}: has {len(complete)} rows without missing values; at least {FEWEST_ROWS} are needed: add rows"
        )
    require_finite(complete, table.source)
    numeric = [name for name in features if is_numeric_dtype(complete[name].dtype)]
    log1p = _log1p_columns(table, complete, numeric, config)
    return Selection(complete, numeric, [name for name in features if name not in numeric], log1p, about)


def _where_most_are_missing(used: pd.DataFrame) -> str:
    missing = {str(name): int(column_of(used, name).isna().sum()) for name in used.columns}
    most = max(missing, key=missing.__getitem__)
    return f"most of them in column '{most}' ({missing[most]} of {len(used)}); leave it out with 'task.ignore=[{most}]'"


def _log1p_columns(table: Table, complete: pd.DataFrame, numeric: list[str], config: Tabular) -> list[str]:
    """The columns that get log(x+1). `auto` looks at the whole table: it asks what a column may hold, not how it is spread."""
    if config.log1p in (None, "none"):
        return []
    if config.log1p == "auto":
        return [name for name in numeric if (column_of(complete, name) >= 0).all()]
    chosen = numeric if config.log1p == "all" else [str(name) for name in config.log1p]
    _require(table, numeric, "task.log1p", chosen, "numeric columns to learn from")
    for name in chosen:
        require_log1p(column_of(complete, name), table.source)
    return chosen


def _require(table: Table, names: list[str], key: str, given: list[str], what: str = "columns") -> None:
    for name in given:
        if name not in names:
            raise BadData(
                f"{key}: {table.source} has no '{name}' among its {what}{nearest(name, names)}; it has: {listed(names)}"
            )


def _numbers_rows(column: pd.Series) -> bool:
    return is_numeric_dtype(column.dtype) and len(column) > 1 and bool((column.diff().iloc[1:] == 1).all())


def _names_rows(column: pd.Series) -> bool:
    if is_numeric_dtype(column.dtype):
        return False
    distinct, rows = as_texts(column).nunique(), column.count()
    return distinct == rows > 1 or (distinct > _FEWEST_IDENTIFIERS and distinct > _IDENTIFIER_SHARE * rows)
