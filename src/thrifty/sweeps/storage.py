"""Where a search is kept: the journal in its sweep's directory, or a storage at an address, whose password is told to nobody."""

from __future__ import annotations

import contextlib
import gc
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"
DRIVERS: dict[str, str] = dict.fromkeys(("psycopg", "psycopg2"), "'thrifty[postgres]'")
"""What to install for a driver that an address asks for: psycopg2 is what SQLAlchemy takes where it names none."""
_TRIES = 5
_T = TypeVar("_T")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Optuna calls experimental what we use on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def storage_at(url: str | None, directory: Path) -> optuna.storages.BaseStorage | str:
    """The storage that a search has: at an address, or the journal in its sweep's directory."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if url is not None:
        return url
    directory.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(directory / JOURNAL)))


@contextlib.contextmanager
def read_at_once() -> Iterator[None]:
    """What is read stays for as long as the process: a collector that looks through it time and again takes a sixth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def while_others_begin_it(opened: Callable[[], _T]) -> _T:
    """Open a storage, again where another process has made the same tables or rows at the same moment."""
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    for again in range(1, _TRIES):
        try:
            return opened()
        except (IntegrityError, ProgrammingError, OperationalError) as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
            time.sleep(0.1 * again)
    return opened()


def without_password(url: str) -> str:
    """A storage's address as it may be told."""
    head, sign, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{head}{sign}{user.partition(':')[0]}:***@{host}" if at and ":" in user else url


def first_line(error: BaseException, url: str | None) -> str:
    """What an error of a storage's says, without the password in its address."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if url is not None:
        password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
        text = text.replace(password, "***") if password else text
    return f"{type(error).__name__}: {text}"[:300]
