"""Where runs lie: claiming a directory, writing its record, finding and reading runs again."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from thrifty.atomic import sync_directory, write_atomically
from thrifty.errors import BadConfiguration, BadData, nearest
from thrifty.record import config_hash, now, to_json

RESULT = "result.json"
MANIFEST = "model.json"
"""Describes the model whose weights lie beside it."""
SAMPLES = "samples.json"
"""Holds the raw numbers that the record's metrics come from."""
CACHE = "cache"
"""Holds the dense models that were trained for the sake of compressing them."""
SHARED = ".shared"
"""Holds a directory for each grid that goes on: what its runs may take from each other."""
LOCK = ".lock"
"""Held by the process of a run until its record is finished; free as soon as the process is gone, however it went."""
RESERVE = ".reserve"
"""Space kept for the last record, so that a disk that fills up during a run does not keep the run from saying so."""
_RESERVED_BYTES = 2**17
_FIELDS = {"id": str, "status": str, "config": dict, "config_hash": str, "overrides": list, "command": str, "attempt": dict,
           "environment": dict, "data": dict, "metrics": dict, "flags": list}  # fmt: skip
"""What a record must have to be read, and of which type."""
_OF_THE_SWEEP = "wandb"
"""Directory in a sweep's that is no run's."""
_CLAIM_SECONDS = 60.0
"""Longer than claiming takes, also where the disk is slow."""
_READER_SECONDS = 5.0
"""How long to wait for a lock that should be free: a reader may just be trying it."""


def utc_stamp() -> str:
    """UTC to the millisecond, as it stands in names."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"


@dataclass
class RunDirectory:
    """A directory this attempt owns, and holds locked, until its record is finished."""

    path: Path
    record: dict[str, Any]
    lock: FileLock

    @classmethod
    def claim(cls, parent: Path, record: dict[str, Any]) -> RunDirectory:
        """Make the run's directory, holding a record that says it is running.

        The directory is filled under a temporary name and renamed, so that nobody ever sees it without its record.

        Raises:
            BadData: the store cannot be written.
        """
        from omegaconf import OmegaConf  # reading needs none of it

        config = record["config"]
        parts = (config["task"]["name"], config["architecture"]["name"], config["model"], config["method"]["name"])
        _clear_abandoned(parent)
        temporary = parent / f".claim-{secrets.token_hex(6)}"
        lock = _lock(temporary)
        try:
            temporary.mkdir(parents=True)
            lock.acquire(blocking=False)
            write_atomically(temporary / RESERVE, bytes(_RESERVED_BYTES))
            write_atomically(temporary / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
            write_atomically(temporary / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(record["overrides"])))
            while True:
                record["id"] = "-".join((utc_stamp(), *parts, record["config_hash"][:12]))
                write_atomically(temporary / RESULT, to_json(record))
                try:
                    temporary.rename(parent / record["id"])
                    break
                except OSError:
                    if not (parent / record["id"]).exists():
                        raise
            sync_directory(parent)
        except OSError as error:
            lock.release()
            shutil.rmtree(temporary, ignore_errors=True)
            raise BadData(
                f"store={parent}: cannot be written ({error.strerror}); free some space or give another store=DIR"
            ) from error
        return cls(parent / record["id"], record, lock)

    @classmethod
    def take_over(cls, path: Path) -> RunDirectory:
        """The directory of a process that is gone, to finish the record it could not.

        Raises:
            BadData: the process still holds it, or there is no record.
        """
        read_json(path / RESULT)  # before the lock, which would make a directory that is not there
        lock = _lock(path)
        try:
            lock.acquire(timeout=_READER_SECONDS)
        except Timeout as error:
            raise BadData(f"{path}: a process that is still running holds it; end that process first") from error
        except OSError as error:
            raise BadData(f"{path}: cannot be written ({error.strerror}); its record was left as it is") from error
        return cls(path, read_json(path / RESULT), lock)

    @classmethod
    def go_on(cls, path: Path, record: dict[str, Any]) -> RunDirectory:
        """The directory of a run that was cut off, its record now that of another attempt, which is running.

        Raises:
            BadData: a process still holds it, or it cannot be written.
        """
        directory = cls.take_over(path)
        record["id"], record["started"] = directory.record["id"], directory.record["started"]
        try:
            write_atomically(path / RESERVE, bytes(_RESERVED_BYTES))
            write_atomically(path / RESULT, to_json(record))
        except OSError as error:
            directory.lock.release()
            raise BadData(f"{path}: cannot be written ({error.strerror}); its record was left as it is") from error
        return cls(path, record, directory.lock)

    def finish(self, status: str, reason: str | None) -> None:
        """Replace the running record by the whole one, unless another attempt has taken the directory over; let go of it.

        Raises:
            BadData: the directory is another attempt's, or cannot be written.
        """
        try:
            current = read_json(self.path / RESULT)
            if current["attempt"]["token"] != self.record["attempt"]["token"]:
                raise BadData(f"{self.path}: another attempt has taken this directory over; its record was left as it is")
            self.record.update(status=status, reason=reason, finished=now())
            (self.path / RESERVE).unlink(missing_ok=True)
            write_atomically(self.path / RESULT, to_json(self.record))
        except OSError as error:
            raise BadData(f"{self.path}: the record cannot be written ({error.strerror}); free some space") from error
        finally:
            self.lock.release()


def room_for(parent: Path, needed_bytes: int) -> None:
    """Hold the store's disk to what a run will write.

    Raises:
        BadData: less is free.
    """
    existing = next(one for one in (parent, *parent.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise BadData(
            f"store={parent}: has {free / 2**20:.0f} MiB free, this run writes about {needed_bytes / 2**20:.0f} MiB; "
            "free some space or give another store=DIR"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        BadData: missing, or not a JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise BadData(f"{path}: is not JSON; the file was altered or truncated") from error
    if not isinstance(value, dict):
        raise BadData(f"{path}: holds no JSON object; the file was altered")
    return value


def read_record(directory: Path, file: str = RESULT) -> dict[str, Any]:
    """The record of a run, checked to be whole and about its own configuration.

    Args:
        file: its name, where a record is kept under another than a run's own.

    A record still `running` that no process of this machine holds reads as `killed`.

    Raises:
        BadData: not a run, altered, or of another configuration.
    """
    record = read_json(directory / file)
    for name, kind in _FIELDS.items():
        if not isinstance(record.get(name), kind):
            what = f"its {name} is {record[name]!r:.40}" if name in record else f"has no '{name}'"
            raise BadData(f"{directory / file}: {what}; it is not a record of ours, or was altered")
    config, given, attempt = record["config"], record["config_hash"], record["attempt"]
    if config_hash(config) != given:
        raise BadData(
            f"{directory / file}: its configuration is not the one it was written with (hash {given[:12]}); run it again"
        )
    if record["status"] == "running" and attempt.get("host") == platform.node() and _let_go(directory):
        record = read_json(directory / file)  # its last word comes before it lets go, and may have come since
        if record["status"] == "running":
            record.update(status="killed", reason="the process is gone and left no record")
    return record


def _clear_abandoned(parent: Path) -> None:
    """Remove what processes have left that died while they claimed a directory: nobody would find it again."""
    for one in parent.glob(".claim-*"):
        with contextlib.suppress(OSError):
            if time.time() - one.stat().st_mtime > _CLAIM_SECONDS and _let_go(one):
                shutil.rmtree(one)


def _lock(directory: Path) -> FileLock:
    return FileLock(directory / LOCK, thread_local=False)  # the process's, whichever of its threads took it


def _let_go(directory: Path) -> bool:
    """Whether no process holds a run; not its process id, which another may have got. Where it cannot be told, one does."""
    try:
        with _lock(directory).acquire(blocking=False):
            return True
    except (Timeout, OSError):
        return False


def run_directories(store: Path, besides: str | None = None) -> Iterator[Path]:
    """Every run of a store, oldest first, those of sweeps and studies included, `besides` one of that name."""
    parents = [store / "runs", store / CACHE, *sorted((store / "sweeps").glob("*/")), *sorted((store / "studies").glob("*/"))]
    yield from run_directories_of(*(one for one in parents if one.name != besides))


def run_directories_of(*parents: Path) -> Iterator[Path]:
    """Every run in these directories, oldest first."""
    found = [entry for parent in parents if parent.is_dir() for entry in os.scandir(parent) if entry.is_dir()]
    for entry in sorted(found, key=lambda entry: entry.name):
        if not entry.name.startswith(".") and entry.name != _OF_THE_SWEEP:
            yield Path(entry.path)


def find_run(store: Path, given: str) -> Path:
    """The one run that a directory, an id, or a unique part of one names.

    Raises:
        BadConfiguration: none or several do.
    """
    as_path = Path(given)
    with contextlib.suppress(OSError):
        if (as_path / RESULT).is_file():
            return as_path
    runs = list(run_directories(store))
    exact = [run for run in runs if run.name == given]
    matches = exact or [run for run in runs if given in run.name]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        if os.path.isdir(given) and given != ".":  # noqa: PTH112 - which says no of a name that is too long
            raise BadConfiguration(f"{given}: is a directory without a {RESULT}, no run's; see `thrifty list`")
        hint = nearest(given, (run.name for run in runs))
        raise BadConfiguration(f"{given}: no such run in {store} ({len(runs)} there){hint}; see `thrifty list`")
    shown = ", ".join(run.name for run in matches[-3:])
    raise BadConfiguration(f"{given}: names {len(matches)} runs, the latest {shown}; give more of the name")
