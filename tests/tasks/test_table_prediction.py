"""Prediction for the rows of a file."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from example_table import linear, prepare, table, write

from thrifty.errors import BadConfiguration, BadData
from thrifty.tasks.prediction_batches import Examples, Predictor
from thrifty.tasks.tabular import TabularTask


@pytest.mark.parametrize("target", ["bought", "colour", "price"])
def test_prediction_repeats_what_the_model_said_in_training(tmp_path: Path, target: str) -> None:
    frame = table()
    data = prepare(write(tmp_path, frame), target)
    model = linear(data)
    state = json.loads(json.dumps(data.state()))
    text = TabularTask.predict(state, model, write(tmp_path, frame, "new.csv"), None, {"batch_size": 7})
    answers = pd.read_csv(io.StringIO(text))
    pd.testing.assert_frame_equal(answers[list(frame.columns)], frame, check_dtype=False)
    outputs = model(torch.from_numpy(data.preprocessing.apply(data.preprocessing.read(frame, "")))).detach()
    if target == "price":
        assert answers["prediction"].to_numpy() == pytest.approx(outputs[:, 0].numpy() * data.scale + data.mean, rel=1e-5)
        assert "probability" not in answers
    elif target == "colour":
        best, which = outputs.softmax(-1).max(-1)
        assert answers["prediction"].tolist() == [data.labels[one] for one in which]
        assert answers["probability"].to_numpy() == pytest.approx(best.numpy(), rel=1e-5)
    else:
        second = outputs[:, 0].sigmoid()
        assert answers["prediction"].tolist() == ["yes" if one > 0.5 else "no" for one in second]
        assert answers["probability"].to_numpy() == pytest.approx(torch.maximum(second, 1 - second).numpy(), rel=1e-5)


def test_prediction_keeps_rows_columns_and_style(tmp_path: Path) -> None:
    data = prepare(write(tmp_path, table()), "price")
    given, output = tmp_path / "new.csv", tmp_path / "out.csv"
    given.write_text(
        'colour;note;signed;amount;bought\nred;"a;b";0,5;1,0;yes\n?;;0,1;2;no\nblack; 007;-0,5;0;no\n\n', "latin-1"
    )
    said = TabularTask.predict(data.state(), linear(data), str(given), output, {})
    assert said == f"wrote 2 predictions to {output} (1 row left empty, for missing values)"
    lines = output.read_text().splitlines()
    assert lines[0] == "colour;note;signed;amount;bought;prediction"
    assert lines[1].startswith('red;"a;b";0,5;1,0;yes;')
    assert lines[2] == "?;;0,1;2;no;"
    assert lines[3].startswith("black;007;-0,5;0;no;")
    assert lines[3].split(";")[-1].replace(",", "").isdigit()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data.csv", "new.csv", "out.csv"]


def test_prediction_of_rows_that_are_all_incomplete(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = prepare(write(tmp_path, table()), "bought", ignore=["price"])
    given = tmp_path / "new.csv"
    given.write_text("amount,signed,colour,prediction\n,1,red,old\n")
    text = TabularTask.predict(data.state(), linear(data), str(given), None, {})
    assert text == "amount,signed,colour,prediction,prediction_2,probability\n,1,red,old,,\n"
    assert "1 of 1 row left empty" in caplog.text


class OneThenAll(Predictor):
    """Chooses its own batches: the first row, then the others."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def predict(self, examples: Examples) -> Iterator[torch.Tensor]:
        for first, end in ((0, 1), (1, examples.count)):
            yield self.model(examples.inputs(first, end)).detach()


def test_a_predictor_that_chooses_its_batches_gives_the_same(tmp_path: Path) -> None:
    data = prepare(write(tmp_path, table()), "colour")
    given = write(tmp_path, table(), "new.csv")
    plain, chosen = (
        pd.read_csv(io.StringIO(TabularTask.predict(data.state(), model, given, None, {})))
        for model in (linear(data), OneThenAll(linear(data)))
    )
    pd.testing.assert_frame_equal(plain, chosen)


def test_prediction_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    data = prepare(write(tmp_path, table()), "bought")
    given = write(tmp_path, table().rename(columns={"amount": "amuont"}), "new.csv")
    with pytest.raises(BadData, match=r"no column 'amount'.*did you mean 'amuont'"):
        TabularTask.predict(data.state(), linear(data), given, None, {})
    with pytest.raises(BadData, match=r"row 5 of the file: .* above -1, got -2"):
        TabularTask.predict(data.state(), linear(data), write(tmp_path, table().assign(amount=[1, 1, 1, -2] * 15)), None, {})
    for output in (tmp_path, tmp_path / "none" / "out.csv"):
        with pytest.raises(BadConfiguration, match="folder that exists"):
            TabularTask.predict(data.state(), linear(data), given, output, {})


def test_a_parquet_file_can_be_predicted(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    data = prepare(write(tmp_path, table()), "bought")
    table().to_parquet(tmp_path / "new.parquet")
    from_parquet, from_csv = (
        TabularTask.predict(data.state(), linear(data), str(tmp_path / name), None, {}) for name in ("new.parquet", "data.csv")
    )
    assert from_parquet == from_csv
    assert "pyarrow" in sys.modules


def test_digits_of_the_input_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    data = prepare(write(tmp_path, table()), "bought")
    table(1).assign(signed=0.123456789012).to_parquet(tmp_path / "new.parquet")
    assert ",0.123456789012," in TabularTask.predict(data.state(), linear(data), str(tmp_path / "new.parquet"), None, {})
