"""Preprocessing: numbers computed by hand, and what happens to values the training rows did not have."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from thrifty.errors import BadData
from thrifty.tasks.preprocessing import MOST_CATEGORIES, Preprocessing, fit
from thrifty.tasks.table_values import as_numbers, as_texts, listed, tidy


def texts(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype="string")


def test_standardises_by_mean_and_standard_deviation() -> None:
    preprocessing, _ = fit(pd.DataFrame({"x": [1.0, 2.0, 3.0, 6.0]}), ["x"], [], [])
    # mean 3; squared distances 4, 1, 0, 9: variance 3.5
    assert preprocessing.numeric[0].mean == pytest.approx(3.0)
    assert preprocessing.numeric[0].scale == pytest.approx(math.sqrt(3.5))
    inputs = preprocessing.apply(pd.DataFrame({"x": [3.0, 10.0]}))
    assert inputs.dtype == np.float32
    assert inputs[:, 0] == pytest.approx([0.0, 7 / math.sqrt(3.5)])


def test_log1p_comes_before_standardising() -> None:
    # log(x + 1) of these is 0, 1, 2: mean 1, variance 2/3
    values = [0.0, math.e - 1, math.e**2 - 1]
    preprocessing, about = fit(pd.DataFrame({"x": values, "y": [1.0, 2.0, 3.0]}), ["x", "y"], [], ["x"])
    inputs = preprocessing.apply(pd.DataFrame({"x": [math.e**3 - 1], "y": [2.0]}))
    assert inputs[0] == pytest.approx([2 / math.sqrt(2 / 3), 0.0], abs=1e-6)
    assert about == ["log1p on 1 of 2 numeric columns"]


def test_categories_become_inputs_of_0_or_1_and_unseen_ones_none() -> None:
    preprocessing, _ = fit(pd.DataFrame({"c": texts(["b", "a", "b"])}), [], ["c"], [])
    inputs = preprocessing.apply(pd.DataFrame({"c": texts(["a", "b", "z"])}))
    assert inputs.tolist() == [[1, 0], [0, 1], [0, 0]]


def test_rare_categories_share_an_input() -> None:
    often = [f"often{number}" for number in range(MOST_CATEGORIES)]
    preprocessing, about = fit(pd.DataFrame({"c": texts(often * 2 + ["rare1", "rare2"])}), [], ["c"], [])
    inputs = preprocessing.apply(pd.DataFrame({"c": texts(["rare1", "rare2", "unseen", "often0"])}))
    assert inputs.shape == (4, MOST_CATEGORIES + 1)
    assert inputs[:, -1].tolist() == [1, 1, 1, 0]
    assert inputs.sum(axis=1).tolist() == [1, 1, 1, 1]
    assert any("64 most frequent" in one for one in about)


@pytest.mark.parametrize("value", [5.0, 0.1, 0.0, 1e300])
def test_a_constant_column_is_left_out(value: float) -> None:
    frame = pd.DataFrame({"same": [value] * 30, "x": np.arange(30.0)})
    preprocessing, about = fit(frame, ["same", "x"], [], [])
    assert preprocessing.columns == ["x"]
    assert any("same" in one for one in about)
    assert np.isfinite(preprocessing.apply(frame)).all()


def test_extreme_numbers_give_finite_inputs() -> None:
    training = pd.DataFrame({"huge": [1e308, -1e308, 1e307], "tiny": [1e-320, 0.0, 2e-320], "x": [1.0, 2.0, 3.0]})
    preprocessing, _ = fit(training, ["huge", "tiny", "x"], [], [])
    inputs = preprocessing.apply(pd.DataFrame({"huge": [1e308], "tiny": [1.0], "x": [1e300]}))
    assert np.isfinite(inputs).all()


def test_state_survives_json() -> None:
    frame = pd.DataFrame({"x": [0.1, 0.2, 0.7], "c": texts(["ä", "b", "b"])})
    preprocessing, _ = fit(frame, ["x"], ["c"], ["x"])
    again = Preprocessing.from_state(json.loads(json.dumps(preprocessing.state())))
    assert again == preprocessing
    assert np.array_equal(again.apply(frame), preprocessing.apply(frame))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [("x", ["1", "two"], "column 'x', row 8 of the file: 'two' is not a number"), ("x", ["1", "inf"], "row 8 .* infinite"),
     ("x", ["1", "-1"], "row 8 .* above -1, got -1")],
)  # fmt: skip
def test_unusable_numbers_are_refused_with_their_place(column: str, values: list[str], message: str) -> None:
    preprocessing, _ = fit(pd.DataFrame({column: [1.0, 2.0]}), [column], [], [column])
    with pytest.raises(BadData, match=message):
        preprocessing.read(pd.DataFrame({column: values}, index=pd.RangeIndex(7, 9)), "new.csv")


def test_values_are_read_as_people_write_them() -> None:
    assert as_numbers(pd.Series([" 1 ", "?", "", "2,5", "true"]), "f", decimal=",").fillna(-1).tolist() == [1, -1, -1, 2.5, 1]
    assert as_texts(pd.Series([" a ", "TRUE", "False", "?"])).fillna("-").tolist() == ["a", "true", "false", "-"]
    assert as_texts(pd.Series([1.0, 2.5, np.nan])).fillna("-").tolist() == ["1", "2.5", "-"]


def test_tidy_makes_numbers_or_texts_of_every_type() -> None:
    frame = pd.DataFrame(
        {
            "integer": [1, 2],
            "nullable": pd.array([1, None], dtype="Int64"),
            "bool": [True, False],
            "mixed": pd.Series([True, None], dtype=object),
            "category": pd.Categorical(["a", "b"]),
            "date": pd.to_datetime(["2020-01-01", "2020-01-02"]),
            "list": [[1], [2]],
        }
    )
    types = {name: str(column.dtype) for name, column in tidy(frame).items()}
    assert types == {name: "float64" if name in ("integer", "nullable") else "string" for name in types}
    assert tidy(frame)["mixed"].fillna("-").tolist() == ["true", "-"]


def test_long_lists_of_names_keep_the_last() -> None:
    assert listed(["a", "b", "c"], 3) == "a, b, c"
    assert listed(["a", "b", "c", "d", "e"], 3) == "a, b (2 more) e"
