"""Dense models that are kept: which one is found again, what is removed, and what `thrifty cache` says."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from conftest import Cli
from thrifty import cache
from thrifty.config.compose import compose, plain
from thrifty.errors import BadConfiguration
from thrifty.identity import data_stamp, manifest_digest, training_code
from thrifty.record import config_hash, new_record, to_json, weights_hash
from thrifty.store import LOCK, SAMPLES, RunDirectory

OVERRIDES = ["task=tabular"]


def entry(store: Path, parent: str = "cache", size: int = 100, used: float | None = None, **changes: Any) -> Path:
    """A finished run with weights, as a training leaves it."""
    record = new_record(plain(compose(OVERRIDES)), OVERRIDES, "token")
    record["data"] = {"stamp": changes.pop("stamp", "built in")}
    own = RunDirectory.claim(store / parent, record)
    weights = os.urandom(size)
    (own.path / "model.safetensors").write_bytes(weights)
    (own.path / SAMPLES).write_text("{}")
    manifest = {"weights": {"file": "model.safetensors", "sha256": hashlib.sha256(weights).hexdigest()}}
    (own.path / "model.json").write_text(json.dumps({**manifest, "sha256": manifest_digest(manifest)}))
    own.finish("ok", None)
    if changes:
        (own.path / "result.json").write_text(to_json({**own.record, **changes}))
    mark = own.path / ".used"
    mark.touch()
    if used is not None:
        os.utime(mark, (used, used))
    return own.path


def found(
    store: Path, stamp: str = "built in", code: str | None = None, given: tuple[str, ...] = (), **wanted: Any
) -> tuple[Path | None, list[str]]:
    told: list[str] = []
    weights = weights_hash(plain(compose([*OVERRIDES, *given])))
    return cache.find(store, cache.Wanted("train", weights, code or training_code(), stamp, **wanted), told), told


def test_the_oldest_of_the_same_configuration_code_and_data_is_found(store: Path) -> None:
    assert found(store) == (None, [])
    oldest = entry(store)
    entry(store, parent="runs")
    assert found(store) == (oldest, [])
    assert found(store, stamp="of another file") == (None, [])
    assert found(store, code="of another version") == (None, [])


def test_a_run_of_the_user_s_own_is_found_as_well(store: Path) -> None:
    own = entry(store, parent="runs")
    assert found(store) == (own, [])
    assert cache.entries(store) == []


def test_how_a_model_is_executed_and_measured_does_not_make_it_another(store: Path) -> None:
    one = entry(store)
    assert found(store, given=("engine=compile", "measure.seconds=0", "profile=true", "measure.batch_sizes=[3]"))[0] == one
    for given in ("seed=1", "optimizer.lr=0.5", "threads=1", "measure.examples=7", "train.average=0.9"):
        assert found(store, given=(given,))[0] is None, given


@pytest.mark.parametrize("package", ["torch", "torchao", "torch-pruning"])
def test_another_version_of_what_computes_the_weights_is_other_code(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0" if name == package else version(name))
    assert training_code.__wrapped__() != training_code()


def test_one_that_was_not_measured_will_not_do_where_that_is_wanted(store: Path) -> None:
    own = entry(store)
    assert found(store, measured=True)[0] == own
    kept = json.loads((own / "result.json").read_text())
    kept["config"]["measure"]["seconds"] = 0.0
    (own / "result.json").write_text(to_json({**kept, "config_hash": config_hash(kept["config"])}))
    assert found(store)[0] == own
    assert found(store, measured=True)[0] is None


def test_one_that_began_with_other_weights_is_not(store: Path) -> None:
    own = entry(store, parents=["that"])
    assert found(store, parent="that")[0] == own
    assert found(store, parent="another")[0] is None


def test_one_that_did_not_end_well_is_not(store: Path) -> None:
    entry(store, status="diverged")
    assert found(store) == (None, [])


def test_one_whose_weights_were_altered_is_passed_over_and_told_of(store: Path) -> None:
    older = entry(store)
    newer = entry(store)
    content = bytearray((older / "model.safetensors").read_bytes())
    content[3] ^= 1
    (older / "model.safetensors").write_bytes(bytes(content))
    path, told = found(store)
    assert path == newer
    assert len(told) == 1
    assert older.name in told[0]
    assert "altered" in told[0]
    described = json.loads((newer / "model.json").read_text())
    (newer / "model.json").write_text(json.dumps({**described, "form": {}}))
    path, told = found(store)
    assert path is None
    assert len(told) == 2


def test_what_was_longest_unused_goes_first(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, older, oldest = (entry(store, size=300_000, used=1e9 + when) for when in (3, 2, 1))
    assert [one.path for one in cache.entries(store)] == [oldest, older, old]
    monkeypatch.setenv(cache.BOUND, str(700_000 / 2**30))
    assert cache.keep_within_bound(store, oldest) == [older]
    assert [one.path for one in cache.entries(store)] == [oldest, old]


def test_one_that_is_being_made_is_never_removed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = entry(store)
    monkeypatch.setenv(cache.BOUND, "0")
    lock = FileLock(path / LOCK)
    with lock:
        assert cache.keep_within_bound(store) == []
    assert cache.keep_within_bound(store) == [path]
    assert not path.exists()


@pytest.mark.parametrize("given", ["much", "-1", "nan"])
def test_a_bound_that_is_no_number_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.BOUND, given)
    with pytest.raises(BadConfiguration, match=cache.BOUND):
        cache.bound_bytes()


def test_the_stamp_of_data_changes_with_its_files(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x\n1\n")
    before = data_stamp(str(file))
    assert data_stamp(str(file)) == before
    file.write_text("x\n12\n")
    assert data_stamp(str(file)) != before
    folder = data_stamp(str(tmp_path))
    (tmp_path / "b.csv").write_text("x\n")
    assert data_stamp(str(tmp_path)) != folder
    assert data_stamp(None) == "built in"


def test_the_command_shows_and_clears(cli: Cli) -> None:
    assert "is empty" in cli("cache").stdout
    first, second = entry(cli.store), entry(cli.store)
    own = entry(cli.store, parent="runs")
    shown = cli("cache").stdout
    assert first.name in shown
    assert second.name in shown
    assert own.name not in shown
    assert "of at most 10 GiB" in shown
    assert "no such entry" in cli.refused("cache", "--clear", "zzz", code=2)
    assert "removed 1 of them" in cli("cache", "--clear", first.name).stdout
    assert not first.exists()
    assert second.exists()
    cli("cache", "--clear")
    assert not second.exists()
    assert own.exists()
