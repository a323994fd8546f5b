"""Claiming, finishing, reading and finding runs."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from thrifty.config.compose import compose, plain
from thrifty.errors import BadConfiguration, BadData
from thrifty.record import new_record, to_json
from thrifty.store import LOCK, RunDirectory, find_run, read_record, room_for, run_directories

OVERRIDES = ["task=tabular"]


@cache
def config() -> str:
    return to_json(plain(compose(OVERRIDES)))


def claim(parent: Path, token: str = "token") -> RunDirectory:
    return RunDirectory.claim(parent, new_record(json.loads(config()), OVERRIDES, token))


def claim_in_process(parent: Path) -> str:
    return claim(parent).path.name


def edit(path: Path, **changes: Any) -> None:
    """Alter a record as a user with an editor would."""
    record = json.loads((path / "result.json").read_text())
    record.update(changes)
    (path / "result.json").write_text(json.dumps(record))


def test_a_claimed_directory_holds_a_running_record_and_its_configuration(store: Path) -> None:
    own = claim(store / "runs")
    assert own.path.name == own.record["id"]
    assert own.path.name.split("-", 1)[1] == f"tabular-mlp-nano-train-{own.record['config_hash'][:12]}"
    assert {one.name for one in own.path.iterdir()} == {"result.json", "config.yaml", "overrides.yaml", ".lock", ".reserve"}
    assert [one.name for one in (store / "runs").iterdir()] == [own.path.name]
    record = read_record(own.path)
    assert (record["status"], record["attempt"]["pid"]) == ("running", os.getpid())
    assert "lr: 0.01" in (own.path / "config.yaml").read_text()
    assert (own.path / "overrides.yaml").read_text() == "- task=tabular\n"


def test_threads_that_claim_at_once_get_directories_of_their_own(store: Path) -> None:
    config()  # Hydra composes in one thread only
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: claim(store / "runs").path.name, range(24)))
    assert len(set(names)) == 24
    assert {one.name for one in (store / "runs").iterdir()} == set(names)


def test_processes_that_claim_at_once_get_directories_of_their_own(store: Path) -> None:
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        names = list(pool.map(claim_in_process, [store / "runs"] * 12))
    assert len(set(names)) == 12
    assert all(read_record(store / "runs" / name)["id"] == name for name in names)


def test_two_claims_in_the_same_millisecond(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = iter(["20260101T000000000Z"] * 4 + ["20260101T000000001Z"])
    monkeypatch.setattr("thrifty.store.utc_stamp", lambda: next(stamps))
    first, second = claim(store / "runs"), claim(store / "runs")
    assert first.path.name < second.path.name
    assert read_record(first.path)["id"] == first.path.name
    assert read_record(second.path)["id"] == second.path.name


def test_finish_writes_the_whole_record(store: Path) -> None:
    own = claim(store / "runs")
    own.record["metrics"]["train/steps"] = {"value": float("nan")}
    own.finish("ok", None)
    record = read_record(own.path)
    assert (record["status"], record["reason"], record["metrics"]["train/steps"]["value"]) == ("ok", None, None)
    assert record["finished"] >= record["started"]
    assert not (own.path / ".reserve").exists()


def test_finish_leaves_a_directory_that_another_attempt_has_taken_over(store: Path) -> None:
    own = claim(store / "runs")
    edit(own.path, attempt={"token": "another", "host": "elsewhere", "pid": 1})
    before = (own.path / "result.json").read_text()
    with pytest.raises(BadData, match="another attempt"):
        own.finish("ok", None)
    assert (own.path / "result.json").read_text() == before


def test_a_record_whose_configuration_was_altered_is_refused(store: Path) -> None:
    own = claim(store / "runs")
    edit(own.path, config={**own.record["config"], "seed": 7})
    with pytest.raises(BadData, match="not the one it was written with"):
        read_record(own.path)


@pytest.mark.parametrize("field", ["config", "config_hash", "attempt", "status", "id", "metrics"])
def test_a_record_without_one_of_its_fields_is_refused(store: Path, field: str) -> None:
    own = claim(store / "runs")
    path = own.path / "result.json"
    record = json.loads(path.read_text())
    del record[field]
    path.write_text(json.dumps(record))
    with pytest.raises(BadData, match=field):
        read_record(own.path)


@pytest.mark.parametrize(
    ("text", "says"), [("", "not JSON"), ('{"id": ', "not JSON"), ("[1]", "no JSON object"), (None, "cannot be read")]
)
def test_a_file_that_is_no_record_is_refused(store: Path, text: str | None, says: str) -> None:
    own = claim(store / "runs")
    (own.path / "result.json").unlink()
    if text is not None:
        (own.path / "result.json").write_text(text)
    with pytest.raises(BadData, match=says):
        read_record(own.path)


def claim_and_die(parent: Path) -> None:
    claim(parent)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_running_record_whose_process_is_gone_reads_as_killed(store: Path) -> None:
    process = get_context("spawn").Process(target=claim_and_die, args=(store / "runs",))
    process.start()
    process.join()
    (run,) = run_directories(store)
    record = read_record(run)
    assert (process.exitcode, record["status"]) == (-signal.SIGKILL, "killed")
    assert "gone" in record["reason"]
    # Its process id, given to another process since, does not bring it back to life.
    attempt = json.loads((run / "result.json").read_text())["attempt"]
    edit(run, attempt={**attempt, "pid": os.getpid()})
    assert read_record(run)["status"] == "killed"
    # Of a process on another machine nothing can be told.
    edit(run, attempt={**attempt, "host": "another-machine"})
    assert read_record(run)["status"] == "running"


def test_a_record_is_read_as_it_stands_where_it_ends_while_being_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = claim(store / "runs")

    def ends_meanwhile(config: dict[str, Any]) -> str:
        if own.record["status"] == "running":
            own.finish("ok", None)
        return str(own.record["config_hash"])

    monkeypatch.setattr("thrifty.store.config_hash", ends_meanwhile)
    assert read_record(own.path)["status"] == "ok"


def test_a_directory_is_held_until_its_record_is_finished(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thrifty.store._READER_SECONDS", 0.05)
    open_before = len(list(Path("/dev/fd").iterdir()))
    own = claim(store / "runs")
    with pytest.raises(BadData, match="still running holds it"):
        RunDirectory.take_over(own.path)
    assert read_record(own.path)["status"] == "running"
    own.finish("ok", None)
    RunDirectory.take_over(own.path).finish("error", "found later")
    assert read_record(own.path)["reason"] == "found later"
    assert len(list(Path("/dev/fd").iterdir())) == open_before


def test_a_directory_without_a_record_cannot_be_taken_over(store: Path) -> None:
    own = claim(store / "runs")
    own.finish("ok", None)
    (own.path / "result.json").unlink()
    open_before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(BadData, match="cannot be read"):
        RunDirectory.take_over(own.path)
    with pytest.raises(BadData, match="cannot be read"):
        RunDirectory.take_over(store / "not there")
    assert not (store / "not there").exists()
    assert len(list(Path("/dev/fd").iterdir())) == open_before


def test_runs_are_found_by_directory_id_or_a_unique_part(store: Path) -> None:
    first, second = claim(store / "runs"), claim(store / "sweeps" / "20260101T000000000Z-grid")
    assert find_run(store, str(first.path)) == first.path
    assert find_run(store, first.path.name) == first.path
    assert find_run(store, second.path.name[:19]) == second.path
    assert list(run_directories(store)) == [first.path, second.path]


def test_a_part_of_several_names_is_refused_with_the_latest(store: Path) -> None:
    runs = [claim(store / "runs").path.name for _ in range(4)]
    with pytest.raises(BadConfiguration, match="names 4 runs") as caught:
        find_run(store, "tabular-mlp")
    assert all(name in str(caught.value) for name in runs[1:])
    assert runs[0] not in str(caught.value)


def test_a_run_that_is_not_there_is_refused_with_the_nearest(store: Path) -> None:
    name = claim(store / "runs").path.name
    with pytest.raises(BadConfiguration, match="no such run") as caught:
        find_run(store, name[:-1] + "!")
    assert name in str(caught.value)
    with pytest.raises(BadConfiguration, match="0 there"):
        find_run(store / "empty", "anything")
    with pytest.raises(BadConfiguration, match="no such run"):
        find_run(store, "x" * 5000)  # longer than a file may be called


def test_a_claim_that_was_cut_short_is_no_run(store: Path) -> None:
    (store / "runs" / ".claim-0123456789ab").mkdir(parents=True)
    assert list(run_directories(store)) == []


def test_what_a_dead_process_was_claiming_is_removed_and_what_a_living_one_is_claiming_stays(store: Path) -> None:
    dead, living, fresh = (store / "runs" / f".claim-{name}" for name in ("dead", "living", "fresh"))
    for one in (dead, living, fresh):
        one.mkdir(parents=True)
    with FileLock(living / LOCK):
        for one in (dead, living):
            os.utime(one, (0, 0))
        claim(store / "runs")
        assert not dead.exists()
        assert living.exists()
        assert fresh.exists()


def test_a_store_that_cannot_be_written_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file, not a directory")
    with pytest.raises(BadData, match="cannot be written"):
        claim(tmp_path / "results" / "runs")


def test_a_disk_that_fills_up_leaves_no_half_run(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thrifty.store.write_atomically", full)
    with pytest.raises(BadData, match="No space left on device"):
        claim(store / "runs")
    assert list((store / "runs").iterdir()) == []


def test_a_disk_that_fills_up_between_claim_and_configuration_leaves_no_half_run(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thrifty.atomic import write_atomically

    def full_after_the_record(path: Path, content: str) -> None:
        if path.name != "result.json":
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr("thrifty.store.write_atomically", full_after_the_record)
    with pytest.raises(BadData, match="No space left on device"):
        claim(store / "runs")
    assert list((store / "runs").iterdir()) == []


def test_a_disk_that_fills_up_at_the_end_leaves_a_record_that_reads_as_killed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = claim(store / "runs")

    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thrifty.store.write_atomically", full)
    with pytest.raises(BadData, match="No space left on device"):
        own.finish("ok", None)
    assert read_record(own.path)["status"] == "killed"
    assert json.loads((own.path / "result.json").read_text())["status"] == "running"


def test_room_is_looked_for_where_the_store_will_be(tmp_path: Path) -> None:
    room_for(tmp_path / "not" / "there" / "yet", 1)
    with pytest.raises(BadData, match="MiB free"):
        room_for(tmp_path / "not" / "there" / "yet", 2**62)


def test_a_record_reads_back_as_it_was_written(store: Path) -> None:
    own = claim(store / "runs")
    assert to_json(read_record(own.path)) == to_json(own.record)
