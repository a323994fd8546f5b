"""Models that need not be made again: found among the runs, counted, cleared. Imports no torch.

Every model is a whole run, record and all. The cache holds dense models trained for the sake of compressing them, and data that took long to
read; a run that a user made is found as well, and never removed.
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
from thrifty.record import weights_hash
from thrifty.store import CACHE, LOCK, MANIFEST, SAMPLES, read_json, read_record, run_directories

BOUND = "THRIFTY_CACHE_GIB"
_DEFAULT_GIB = 10.0
_USED = ".used"
"""Its time of change is when the entry was last found."""


@dataclass(frozen=True)
class Entry:
    """A dense model or a set of data that is kept."""

    path: Path
    size: int
    """Bytes."""
    used: float
    """When it was last made or found, seconds since 1970."""


def cache_directory(store: Path) -> Path:
    """Where the entries of a store lie."""
    return store / CACHE


def data_directory(store: Path) -> Path:
    """Where the data that was read lies; hidden from whoever looks for runs."""
    return cache_directory(store) / ".data"


def use(path: Path) -> None:
    """Note that an entry was of use just now."""
    with contextlib.suppress(OSError):
        (path / _USED).touch()


def entries(store: Path) -> list[Entry]:
    """Those of a store, the one longest unused first."""
    found = []
    directories = [one for one in (cache_directory(store), data_directory(store)) if one.is_dir()]
    for path in (entry for directory in directories for entry in directory.iterdir()):
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


@dataclass(frozen=True)
class Wanted:
    """Which model is looked for."""

    method: str
    weights: str
    """Of `weights_hash`."""
    code: str
    """Of `training_code`."""
    stamp: str
    """Of `data_stamp`."""
    measured: bool = False
    """Whether its run must have measured it."""
    parent: str | None = None
    """The run whose weights it must have begun with; None lets it begin with any."""

    def is_made_by(self, record: dict[str, Any]) -> bool:
        """Whether a run has made it."""
        return (
            record["status"] == "ok"
            and record["environment"].get("training_code") == self.code
            and record["data"].get("stamp") == self.stamp
            and (self.parent is None or record["parents"][:1] == [self.parent])
            and (not self.measured or record["config"]["measure"]["seconds"] > 0)
            and weights_hash(record["config"]) == self.weights
        )


def find(store: Path, wanted: Wanted, told: list[str]) -> Path | None:
    """The oldest finished run that has made a model, whose weights and samples are whole.

    The oldest, so that compressions go on to begin with one model when another that is equal to it is made, as in the middle of a sweep.

    Args:
        told: receives a sentence on each that would do but was altered.
    """
    for path in run_directories(store):
        if f"-{wanted.method}-" not in path.name:
            continue
        try:
            record = read_record(path)
            if not wanted.is_made_by(record):
                continue
            if (reason := _damage(path)) is not None:
                raise BadData(reason)
        except ThriftyError as error:
            told.append(f"{path.name} was passed over: {error}")
            continue
        if path.parent == cache_directory(store):
            use(path)
        return path
    return None


def _damage(path: Path) -> str | None:
    """Why the weights are not those that were written; None where they are.

    Raises:
        BadData: its files are not ours.
    """
    read_json(path / SAMPLES)
    manifest = read_json(path / MANIFEST)
    weights = manifest.get("weights")
    if not isinstance(weights, dict) or manifest.get("sha256") != manifest_digest(manifest):
        return f"its {MANIFEST} was altered"
    try:
        with (path / str(weights.get("file"))).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"its weights cannot be read ({error.strerror})"
    return None if found == weights.get("sha256") else "its weights were altered"


@contextlib.contextmanager
def held(store: Path, weights: str, waiting: str, tell: Any) -> Iterator[None]:
    """Within it no other process makes the entry of those weights; tells `waiting` where one does."""
    directory = cache_directory(store)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(directory / f".{weights[:12]}.lock")
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


def keep_within_bound(store: Path, *in_use: Path) -> list[Path]:
    """Remove what was longest unused until the rest is within the bound, but nothing that is in use. Returns what was removed."""
    bound, there, gone = bound_bytes(), entries(store), []
    spared = {one.resolve() for one in in_use}
    total = sum(one.size for one in there)
    for one in there:
        if total <= bound:
            break
        if one.path.resolve() not in spared and remove(one):
            total -= one.size
            gone.append(one.path)
    return gone
