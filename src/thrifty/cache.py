"""Dense models trained for the sake of compressing them: found again, counted, cleared. Imports no torch.

Every entry is a whole run, record and all. A run that a user made is found as well, and never removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from thrifty.errors import BadConfiguration, BadData, ThriftyError
from thrifty.identity import manifest_digest
from thrifty.store import CACHE, LOCK, read_json, read_record, run_directories

BOUND = "THRIFTY_CACHE_GIB"
_DEFAULT_GIB = 10.0
_USED = ".used"
"""Its time of change is when the entry was last found."""


@dataclass(frozen=True)
class Entry:
    """A dense model that is kept."""

    path: Path
    size: int
    """Bytes."""
    used: float
    """When it was last made or found, seconds since 1970."""


def cache_directory(store: Path) -> Path:
    """Where the entries of a store lie."""
    return store / CACHE


def entries(store: Path) -> list[Entry]:
    """Those of a store, the one longest unused first."""
    found = []
    directory = cache_directory(store)
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            with contextlib.suppress(OSError):  # another command has just removed it
                size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
                mark = path / _USED
                found.append(Entry(path, size, (mark if mark.exists() else path).stat().st_mtime))
    return sorted(found, key=lambda one: one.used)


def bound_bytes() -> float:
    """How large a cache may grow.

    Raises:
        BadConfiguration: the environment's word on it is no number.
    """
    given = os.environ.get(BOUND)
    try:
        gib = _DEFAULT_GIB if given is None else float(given)
    except ValueError:
        gib = -1.0
    if not gib >= 0:
        raise BadConfiguration(f"{BOUND}={given}: must be a number of GiB, at least 0")
    return gib * 2**30


def find(store: Path, config_hash: str, code: str, stamp: str, told: list[str]) -> Path | None:
    """The newest finished run of a configuration, trained by the same code on the same files, whose weights are whole.

    Args:
        code: of `training_code`.
        stamp: of `data_stamp`.
        told: receives a sentence on each that would do but was altered.
    """
    for path in reversed([one for one in run_directories(store) if one.name.endswith(f"-train-{config_hash[:12]}")]):
        try:
            record = read_record(path)
            if not _same(record, config_hash, code, stamp):
                continue
            if (reason := _damage(path)) is not None:
                raise BadData(reason)
        except ThriftyError as error:
            told.append(f"{path.name} was passed over: {error}")
            continue
        if path.parent == cache_directory(store):
            with contextlib.suppress(OSError):
                (path / _USED).touch()
        return path
    return None


def _same(record: dict[str, Any], config_hash: str, code: str, stamp: str) -> bool:
    return (
        record["status"] == "ok"
        and record["config_hash"] == config_hash
        and record["environment"].get("training_code") == code
        and record["data"].get("stamp") == stamp
    )


def _damage(path: Path) -> str | None:
    """Why the weights are not those that were written; None where they are."""
    manifest = read_json(path / "model.json")
    weights = manifest.get("weights")
    if not isinstance(weights, dict) or manifest.get("sha256") != manifest_digest(manifest):
        return "its model.json was altered"
    try:
        with (path / str(weights.get("file"))).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"its weights cannot be read ({error.strerror})"
    return None if found == weights.get("sha256") else "its weights were altered"


@contextlib.contextmanager
def held(store: Path, config_hash: str, waiting: str, tell: Any) -> Iterator[None]:
    """Within it no other process makes the entry of that configuration; tells `waiting` where one does."""
    directory = cache_directory(store)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / f".{config_hash[:12]}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            tell(waiting)
            lock.acquire()
    except OSError as error:
        raise BadData(
            f"{directory}: cannot be written ({error.strerror}); free some space or give another store=DIR"
        ) from error
    try:
        yield
    finally:
        lock.release()


def remove(entry: Entry) -> bool:
    """Whether it is gone: one that is being made stays."""
    lock = FileLock(entry.path / LOCK)
    try:
        with lock.acquire(blocking=False):
            shutil.rmtree(entry.path)
            return True
    except (Timeout, OSError):
        return not entry.path.exists()


def keep_within_bound(store: Path, but: Path) -> list[Path]:
    """Remove what was longest unused until the rest is within the bound; `but` stays. Returns what was removed."""
    bound, there, gone = bound_bytes(), entries(store), []
    total = sum(one.size for one in there)
    for one in there:
        if total <= bound:
            break
        if one.path != but and remove(one):
            total -= one.size
            gone.append(one.path)
    return gone
