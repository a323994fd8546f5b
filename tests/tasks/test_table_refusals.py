"""Tables and keys that the tabular task cannot use: each refusal says which, and where."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_table import prepare, table, write

from thrifty.config.choices.tasks import Kind
from thrifty.errors import BadConfiguration, BadData


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({}, BadConfiguration, "needs task.target.*amount, signed, colour, price, bought"),
        ({"target": "buoght"}, BadData, "did you mean 'bought'.*amount, signed"),
        ({"target": "bought", "ignore": ["amout"]}, BadData, "task.ignore.*did you mean 'amount'"),
        ({"target": "bought", "ignore": ["bought"]}, BadConfiguration, "task.ignore has 'bought'"),
        ({"target": "bought", "numeric": ["color"]}, BadData, "task.numeric.*did you mean 'colour'"),
        ({"target": "bought", "log1p": ["colour"]}, BadData, "task.log1p.*numeric columns"),
        ({"target": "bought", "ignore": ["amount", "signed", "colour", "price"]}, BadData, "no column is left"),
        ({"target": "colour", "kind": Kind.binary}, BadData, "has 3 values: blue, green, red"),
        ({"target": "bought", "kind": Kind.regression}, BadData, "row 2 of the file: 'yes' is not a number"),
        ({"target": "price", "kind": Kind.multiclass}, BadData, "has 1 row,"),
        ({"target": "bought", "validation": 0.01, "test": 0.01}, BadData, "do not fill the splits"),
        ({"target": "price", "validation": 0.4999, "test": 0.4999}, BadData, "none to train on"),
    ],
)
def test_refusals(tmp_path: Path, keys: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        prepare(write(tmp_path, table()), **keys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.assign(bought="no"), "'no' in every row"),
        (lambda frame: frame.head(12), "12 rows .* at least 20"),
        (lambda frame: frame.assign(empty=np.nan), r"most of them in column 'empty' \(60 of 60\)"),
        (lambda frame: frame.assign(bought=["rare"] + ["a", "b"] * 29 + ["a"]), "class 'rare' .* has 1 row;"),
        (lambda frame: frame.assign(signed=[1.0] * 59 + [np.inf]), "column 'signed', row 61 of the file: is infinite"),
        (lambda frame: frame[["bought"]].assign(same=1), "nothing to learn from"),
    ],
)
def test_unusable_tables(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(BadData, match=message):
        prepare(write(tmp_path, change(table())), "bought")


def test_log1p_names_the_row_of_the_file_though_rows_before_it_were_dropped(tmp_path: Path) -> None:
    frame = table()
    frame["signed"] = frame["signed"].abs()
    frame.loc[[2, 4], "amount"] = np.nan
    frame.loc[9, "signed"] = -1.5
    path = tmp_path / "data.csv"
    lines = frame.to_csv(index=False).splitlines()
    path.write_text("\n".join([*lines[:4], "", *lines[4:]]))  # a blank line counts in a spreadsheet too
    with pytest.raises(BadData, match=r"column 'signed', row 12 of the file: .* got -1\.5"):
        prepare(str(path), "bought", log1p="all")
    with pytest.raises(BadData, match="row 12"):
        prepare(str(path), "bought", log1p=["signed"])
    assert not prepare(str(path), "bought", log1p="auto").preprocessing.numeric[1].log1p
