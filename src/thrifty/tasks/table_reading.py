"""A CSV or Parquet file as a DataFrame whose index is the row of the file, so that later errors can name it."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.util
import io
import itertools
import re
import warnings
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pandas.errors import EmptyDataError, ParserError, ParserWarning

from thrifty.errors import BadData, Unsupported
from thrifty.tasks.table_values import MISSING, listed, tidy

SEPARATORS = ",;\t|"
_SAMPLE_BYTES = 1 << 18
_SNIFFED_ROWS = 50
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass
class Table:
    """A file as read."""

    source: str
    """The file, as messages name it."""
    frame: pd.DataFrame
    """Indexed by the row of the file, as a spreadsheet numbers it: the names of the columns are in row 1."""
    separator: str = ","
    decimal: str = "."
    about: list[str] = field(default_factory=list)


def read_table(given: str, verbatim: bool = False) -> Table:
    """Read a CSV (also .gz) or Parquet file.

    Args:
        given: path of the file.
        verbatim: keep every field of a CSV as the text it is; otherwise columns are numbers or texts, as `tidy` makes them.

    Raises:
        BadData: the file is missing, empty, binary, without rows, or not a table.
        Unsupported: a Parquet file without pyarrow.
    """
    path = Path(given).expanduser()
    try:
        if path.is_dir():
            raise BadData(f"{given}: is a folder; a table is one CSV or Parquet file: name the file")
        if not path.exists():
            raise BadData(f"{given}: there is no such file; give the path of a CSV or Parquet file")
        sample = _first_bytes(path)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{given}: cannot be read ({error}); give a CSV or Parquet file") from error
    if not sample.strip():
        raise BadData(f"{given}: is empty; give a table with column names in its first row")
    if sample.startswith(b"PAR1") or path.suffix.lower() in (".parquet", ".pq"):
        table = _read_parquet(given, path, sample)
    else:
        table = _read_csv(given, path, sample, verbatim)
    if not len(table.frame):
        raise BadData(f"{given}: has column names but no rows; give a table with at least one row below them")
    return table


def file_fingerprint(given: str) -> str:
    """sha256 of a file's bytes, in hex."""
    with Path(given).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_bytes(path: Path) -> bytes:
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            return cast(bytes, file.read(_SAMPLE_BYTES))
    with path.open("rb") as file:
        return file.read(_SAMPLE_BYTES)


def _read_parquet(given: str, path: Path, sample: bytes) -> Table:
    if not sample.startswith(b"PAR1"):
        raise BadData(f"{given}: is named as Parquet but is not a Parquet file; export it again, or name a CSV file .csv")
    if importlib.util.find_spec("pyarrow") is None:
        raise Unsupported(
            f"{given}: Parquet needs pyarrow, which is not installed; pip install 'thrifty[parquet]', or give a CSV"
        )
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these
        raise BadData(f"{given}: not a readable Parquet file ({_first_line(error)}); export it again") from error
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index(level=named).reset_index(drop=True) if named else frame.reset_index(drop=True)
    frame.columns = _checked_names(given, [str(name) for name in frame.columns])
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return Table(given, tidy(frame))


def _read_csv(given: str, path: Path, sample: bytes, verbatim: bool) -> Table:
    wide = sample.startswith(_UTF16_MARKS)
    _refuse_binary(given, sample, wide)
    text = sample.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    if len(sample) == _SAMPLE_BYTES:
        text = text.rpartition("\n")[0] or text  # the last line is cut short
    separator, decimal = _style(text)
    blank = len(list(itertools.takewhile(lambda line: not line.strip(), text.splitlines())))
    reading: dict[str, Any] = {
        "sep": separator, "skiprows": blank, "skip_blank_lines": False, "skipinitialspace": True, "index_col": False,
        "low_memory": False, "compression": "gzip" if path.suffix.lower() == ".gz" else None,
    }  # fmt: skip
    about: list[str] = []
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "latin-1"):
        try:
            reading["encoding"] = encoding
            frame = _parsed(given, path, reading, decimal, verbatim)
            break
        except UnicodeDecodeError:
            about = [f"{path.name} is not UTF-8: read as latin-1"]
    else:
        raise BadData(f"{given}: is not text in UTF-8, UTF-16 or latin-1; save it as CSV in UTF-8")
    # Blank lines were kept so that rows have the numbers they have in the file; now they can go.
    frame.index = pd.RangeIndex(blank + 2, blank + 2 + len(frame))
    if verbatim:
        filled = (frame != "").any(axis=1).to_numpy().nonzero()[0]
        frame = frame.iloc[: filled[-1] + 1 if len(filled) else 0]
    else:
        frame = tidy(frame, from_text=True)
        frame = frame.dropna(how="all")
        unnamed = [name for name in frame if name in _placeholders(len(frame.columns)) and frame[name].isna().to_numpy().all()]
        frame = frame.drop(columns=unnamed)  # left by a separator at the end of each line
    return Table(given, frame, separator, decimal, about)


def _parsed(given: str, path: Path, reading: dict[str, Any], decimal: str, verbatim: bool) -> pd.DataFrame:
    """The frame, under the names of its header."""
    as_text: dict[str, Any] = {"dtype": str, "na_filter": False}
    as_values: dict[str, Any] = {"na_values": sorted(MISSING), "keep_default_na": False, "decimal": decimal}
    try:
        with warnings.catch_warnings():
            # pandas warns where it would throw away fields of rows that are longer than the header.
            warnings.simplefilter("error", ParserWarning)
            header = pd.read_csv(path, header=None, nrows=1, **as_text, **reading)
            names = _checked_names(given, [str(name) for name in header.iloc[0]])
            return pd.read_csv(path, header=0, names=names, **(as_text if verbatim else as_values), **reading)
    except UnicodeDecodeError:
        raise
    except EmptyDataError as error:
        raise BadData(f"{given}: is empty; give a table with column names in its first row") from error
    except ParserWarning as error:
        raise BadData(f"{given}: rows have more fields than the first row has column names; name every column there") from error
    except (ParserError, ValueError, OSError, EOFError, zlib.error) as error:
        reason = _first_line(error).removeprefix("Error tokenizing data. C error: ")
        raise BadData(f"{given}: not a readable CSV ({reason}); every row must have as many fields as the first") from error


def _checked_names(given: str, names: list[str]) -> list[str]:
    stripped = [name.strip() or placeholder for name, placeholder in zip(names, _placeholders(len(names)), strict=True)]
    repeated = [name for name, times in Counter(stripped).items() if times > 1]
    if repeated:
        raise BadData(f"{given}: two columns have the same name ({listed(repeated)}); give every column a name of its own")
    return stripped


def _placeholders(columns: int) -> list[str]:
    """Names for the columns that have none."""
    return [f"column {number}" for number in range(1, columns + 1)]


def _refuse_binary(given: str, sample: bytes, wide: bool) -> None:
    if sample.startswith(b"PK\x03\x04"):
        raise BadData(f"{given}: is a spreadsheet or an archive, not text; save it as CSV or Parquet")
    odd = sum(sample.count(bytes([code])) for code in range(32) if code not in b"\t\n\r\f")
    if not wide and (b"\0" in sample or odd > len(sample) / 100):
        raise BadData(f"{given}: holds binary data, not a table in text; give a CSV or Parquet file")


def _style(text: str) -> tuple[str, str]:
    """Separator and decimal mark: the separator that gives most rows the width of the first, the wider the better."""
    best, chosen, rows_of_best = (0.0, 1), ",", []
    for separator in SEPARATORS:
        try:
            reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
            rows = list(itertools.islice((row for row in reader if row), _SNIFFED_ROWS))
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        score = (sum(len(row) == width for row in rows) / max(1, len(rows)), width)
        if width > 1 and score > best:
            best, chosen, rows_of_best = score, separator, rows
    fields = [value.strip() for row in rows_of_best[1:] for value in row]
    comma = any(re.fullmatch(r"-?\d+,\d+", value) for value in fields)
    point = any(re.fullmatch(r"-?\d+\.\d+", value) for value in fields)
    return chosen, "," if chosen != "," and comma and not point else "."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
