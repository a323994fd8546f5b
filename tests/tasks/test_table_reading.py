"""Files as people write them, and files that are no table."""

import gzip
from pathlib import Path
from typing import Any

import pytest
import torch
from example_table import everything, prepare, table, write

from thrifty.errors import BadData, Unsupported
from thrifty.tasks.tabular import TabularTask


@pytest.mark.parametrize(
    "style",
    [
        {"sep": ";", "decimal": ","},
        {"sep": "\t", "encoding": "latin-1"},
        {"sep": "|", "quoting": 1, "encoding": "utf-8-sig"},
        {"lineterminator": "\r\n", "encoding": "utf-16"},
    ],
)
def test_styles_of_csv_are_read_alike(tmp_path: Path, style: dict[str, Any]) -> None:
    frame = table().replace({"colour": {"green": 'grün "hell", ja'}}).rename(columns={"amount": "Größe"})
    plain, styled = prepare(write(tmp_path, frame), "bought"), prepare(write(tmp_path, frame, "b.csv", **style), "bought")
    assert styled.state() == plain.state()
    assert torch.equal(everything(styled, "test")[0], everything(plain, "test")[0])


def test_gzip_and_parquet(tmp_path: Path) -> None:
    plain = prepare(write(tmp_path, table()), "bought")
    packed = tmp_path / "data.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "data.csv").read_bytes()))
    assert prepare(str(packed), "bought").state() == plain.state()
    pytest.importorskip("pyarrow")
    table().to_parquet(tmp_path / "data.parquet")
    assert prepare(str(tmp_path / "data.parquet"), "bought").state() == plain.state()


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1rest")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"thrifty\[parquet\]"):
        prepare(str(path), "bought")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n,\n\n", "no rows"),
        (bytes(range(256)) * 9, "binary data"),
        (b"PK\x03\x04rest", "save it as CSV"),
        (b"a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        (b"a,b\n1,2,3\n1,2,3\n", "more fields than"),
        (b'a,b\n"1,2\n', "not a readable CSV"),
        (b"a,a\n1,2\n", r"same name \(a\)"),
        (b"PAR1 but no more", "not a readable Parquet"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    if content.startswith(b"PAR1"):
        pytest.importorskip("pyarrow")
    state = prepare().state()
    for read in (lambda: prepare(str(path), "b"), lambda: TabularTask.predict(state, torch.nn.Identity(), str(path), None, {})):
        with pytest.raises(BadData, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert "bad.csv" in str(caught.value)


def test_missing_file_folder_and_broken_archive(tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(b"not gzip")
    (tmp_path / "x.parquet").write_bytes(b"not parquet")
    for name, message in (
        ("none.csv", "no such file"),
        ("", "folder"),
        ("x.csv.gz", "cannot be read"),
        ("x.parquet", "not a Par"),
    ):
        with pytest.raises(BadData, match=message):
            prepare(str(tmp_path / name), "b")
