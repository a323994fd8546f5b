"""The record, and files that are there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thrifty.atomic import write_atomically, write_file_atomically
from thrifty.config.compose import compose, plain
from thrifty.record import config_hash, new_record, reproducing_command, to_json

OVERRIDES = ["task=tabular", "optimizer.lr=1e-2", "name=a b"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fails(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file_atomically(path, fails)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_writer_leaves_the_old_file_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def interrupted(temporary: Path) -> None:
        temporary.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file_atomically(path, interrupted)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_reader_never_sees_a_half_written_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old" * 1000)
    seen = []

    def slow(temporary: Path) -> None:
        with temporary.open("w") as file:
            for _ in range(3):
                file.write("new" * 1000)
                file.flush()
                seen.append(path.read_text())

    write_file_atomically(path, slow)
    assert set(seen) == {"old" * 1000}
    assert path.read_text() == "new" * 3000


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", "text")


def test_json_holds_no_nan_and_no_infinity() -> None:
    value = {"a": float("nan"), "b": [float("inf"), {"c": (-float("inf"), 1e308, 0)}], "d": "NaN stays a word", "e": True}

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    read = json.loads(to_json(value), parse_constant=refuse)
    assert read == {"a": None, "b": [None, {"c": [None, 1e308, 0]}], "d": "NaN stays a word", "e": True}


def test_json_is_written_readably() -> None:
    assert to_json({"é": 1}) == '{\n "é": 1\n}\n'


def changed(name: str, value: object) -> dict[str, object]:
    return {**plain(compose(["task=tabular"])), name: value}


@pytest.mark.parametrize("name", plain(compose([])))
def test_the_hash_is_of_what_a_run_does_not_of_where_it_goes(name: str) -> None:
    same = config_hash(changed(name, "something else")) == config_hash(plain(compose(["task=tabular"])))
    assert same == (name in ("store", "name", "tags", "logger"))


@pytest.mark.parametrize(
    "override", ["optimizer.lr=0.02", "regularizer.l2=1e-9", "train.validations=3", "task.split_seed=1", "measure=full"]
)
def test_the_hash_looks_inside(override: str) -> None:
    assert config_hash(plain(compose(["task=tabular", override]))) != config_hash(plain(compose(["task=tabular"])))


def test_the_hash_is_the_same_in_every_order_and_survives_json() -> None:
    config = plain(compose(["task=tabular"]))
    assert config_hash(dict(reversed(config.items()))) == config_hash(config)
    assert config_hash(json.loads(json.dumps(config))) == config_hash(config)
    assert len(config_hash(config)) == 64


def test_the_command_can_be_pasted_into_a_shell() -> None:
    assert reproducing_command(OVERRIDES) == "python run.py task=tabular optimizer.lr=1e-2 'name=a b'"
    assert reproducing_command(["task.path=it's.csv"]) == """python run.py 'task.path=it'"'"'s.csv'"""


def test_a_new_record_has_every_field_of_the_contract() -> None:
    record = new_record(plain(compose(OVERRIDES)), OVERRIDES, "token")
    contract = "schema id status reason config overrides command config_hash attempt environment started finished seed parents conditions metrics flags"
    assert set(contract.split()) <= set(record)
    assert (record["schema"], record["status"], record["attempt"]["token"]) == (1, "running", "token")
    environment = record["environment"]
    assert {"host", "cpu", "gpu", "driver", "versions", "commit", "dirty", "cores", "python"} <= set(environment)
    assert {"torch", "torchao", "onnxruntime", "openvino"} <= set(environment["versions"])
    assert environment["versions"]["torch"]
    assert isinstance(environment["cpu"]["isa"], list)


def test_secrets_of_the_environment_are_not_in_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "THRIFTY_STORAGE"):
        monkeypatch.setenv(name, "s3cr3t-of-mine")
    assert "s3cr3t-of-mine" not in to_json(new_record(plain(compose(OVERRIDES)), OVERRIDES, "token"))
