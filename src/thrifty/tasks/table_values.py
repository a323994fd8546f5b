"""Values of a table's columns: texts, numbers, what counts as missing, and errors that name column and row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype

from thrifty.errors import BadData

# What pandas takes as missing, written out so that every version reads a file alike, and "?", as many public tables have it.
MISSING = frozenset(
    {"", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"}
    | {"NULL", "NaN", "None", "n/a", "nan", "null"}
)


def tidy(frame: pd.DataFrame, from_text: bool = False) -> pd.DataFrame:
    """The frame with every column either numbers or texts, missing values marked as such.

    Args:
        from_text: the values come from a file without types, so texts that are all numbers are numbers.
    """
    return pd.DataFrame({name: _tidy_column(column_of(frame, name), from_text) for name in frame.columns}, index=frame.index)


def column_of(frame: pd.DataFrame, name: object) -> pd.Series:
    """The column of a frame whose names are unique."""
    column = frame[name]
    assert isinstance(column, pd.Series)
    return column


def as_texts(column: pd.Series) -> pd.Series:
    """A column as texts without blanks around them; truth values are `true` and `false` however they were written."""
    if _is_numbers(column):
        # A class written 1 in one file and 1.0 in another is the same class.
        return column.map(number_text, na_action="ignore").astype("string")
    texts = column.astype("string").str.strip()
    texts = texts.mask(texts.isin(MISSING))
    lower = texts.str.lower()
    return texts.mask(lower.isin(["true", "false"]), lower)


def as_numbers(column: pd.Series, source: str, decimal: str = ".") -> pd.Series:
    """A column as float64, missing values as NaN.

    Raises:
        BadData: a value that is neither a number nor missing; names column and row.
    """
    if _is_numbers(column):
        return _as_floats(column)
    texts = as_texts(column).replace({"true": "1", "false": "0"})
    if decimal != ".":
        texts = texts.str.replace(decimal, ".", regex=False)
    numbers = _parsed(texts)
    wrong = (numbers.isna() & texts.notna()).to_numpy()
    if wrong.any():
        place = int(wrong.argmax())
        shown = _shown(column.iloc[place])
        raise BadData(f"{_place(source, column, place)}: '{shown}' is not a number; correct it or leave it blank")
    return numbers


def require_finite(frame: pd.DataFrame, source: str) -> None:
    """Refuse infinite numbers, which no mean survives.

    Raises:
        BadData: names column and row.
    """
    for name in frame.columns:
        column = column_of(frame, name)
        if is_numeric_dtype(column.dtype):
            wrong = np.isinf(column.to_numpy(dtype=np.float64))
            if wrong.any():
                raise BadData(f"{_place(source, column, int(wrong.argmax()))}: is infinite; correct it or leave it blank")


def require_log1p(column: pd.Series, source: str) -> None:
    """Refuse what log(x+1) cannot take.

    Raises:
        BadData: names column and row.
    """
    wrong = (column <= -1).to_numpy()
    if wrong.any():
        place = int(wrong.argmax())
        raise BadData(
            f"{_place(source, column, place)}: log(x+1) needs values above -1, got {number_text(column.iloc[place])}; "
            "correct it, or train with this column left out of task.log1p"
        )


def number_text(value: float) -> str:
    """A number as people write it: whole ones without a point."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else str(float(value))


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 12) -> str:
    """Names for a message; of many the first and the last, which in a table often is the target."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 1])} ({len(names) - most} more) {names[-1]}"


def _tidy_column(column: pd.Series, from_text: bool) -> pd.Series:
    if _is_numbers(column):
        return _as_floats(column)
    if column.dtype == object and infer_dtype(column, skipna=True) == "decimal":
        return _parsed(column)
    texts = as_texts(column)
    numbers = _parsed(texts) if from_text and texts.notna().any() else None
    return texts if numbers is None or (numbers.isna() & texts.notna()).any() else numbers


def _is_numbers(column: pd.Series) -> bool:
    return is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype)


def _parsed(column: pd.Series) -> pd.Series:
    """Texts or decimals as numbers; what is none of them becomes NaN."""
    numbers = pd.to_numeric(column, errors="coerce")
    assert isinstance(numbers, pd.Series)
    return _as_floats(numbers)


def _as_floats(column: pd.Series) -> pd.Series:
    return pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index, name=column.name)


def _place(source: str, column: pd.Series, place: int) -> str:
    return f"{source}: column '{column.name}', row {column.index[place]} of the file"


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
