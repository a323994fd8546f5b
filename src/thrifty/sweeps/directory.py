"""The directory of a sweep: which it is, who holds it, and what its runs share while they go on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration
from thrifty.execution.ranks import launched_by
from thrifty.store import LOCK


def sweep_directory(store: Path, given: str) -> Path:
    """The directory that `sweep.resume` names: a path, or a part of one in the store that names one only.

    Raises:
        BadConfiguration: none or several.
    """
    if Path(given).is_dir():
        return Path(given)
    found = [one for one in sorted((store / "sweeps").glob("*/")) if given in one.name]
    if len(found) != 1:
        what = "no such sweep" if not found else f"names {len(found)} sweeps, the latest {found[-1].name}"
        raise BadConfiguration(f"sweep.resume={given}: {what} in {store / 'sweeps'}; give its directory")
    return found[0]


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """A sweep's directory, for as long as one process runs its experiments; one that is not there yet is nobody else's.

    Raises:
        BadConfiguration: another process holds it.
    """
    if not directory.is_dir():
        yield
        return
    try:
        with FileLock(directory / LOCK).acquire(blocking=False):
            yield
    except Timeout as error:
        raise BadConfiguration(f"{directory}: another process is running this sweep; end that one first") from error


@contextlib.contextmanager
def shared(place: Path) -> Iterator[None]:
    """Room for what the runs of a sweep may take from each other; nothing is left of it."""
    made = [one for one in place.parents if not one.exists()]
    with contextlib.suppress(OSError):  # a store that cannot be written is the first run's to tell
        place.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)
        for one in made:
            with contextlib.suppress(OSError):  # it holds something
                one.rmdir()


def check_one_command(configs: Sequence[Config]) -> None:
    """Hold experiments to what a sweep can run.

    Raises:
        BadConfiguration: one goes on with a run by itself, or a launcher has started the sweep more than once.
    """
    if any(one.resume is not None for one in configs):
        raise BadConfiguration("resume goes with one run at a time: leave -m out, or give sweep.resume=DIR")
    if (launcher := launched_by()) is not None:
        raise BadConfiguration(
            f"-m: {launcher} has started this command several times; start a sweep once, and every run of it starts its own devices"
        )
