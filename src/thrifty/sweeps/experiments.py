"""The experiments of a sweep in its directory: each is run once, gone on with where it was cut off, and not again once it is finished."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from thrifty.config import registry
from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration, BadData, ThriftyError, Unsupported
from thrifty.execution.experiment import Complete, Search, run_experiment
from thrifty.execution.launch import Outcome
from thrifty.execution.ranks import launched_by
from thrifty.record import config_hash, new_record
from thrifty.store import LOCK, RESULT, RunDirectory, read_record

FINISHED = ("ok", "diverged", "unsupported")
"""Statuses that another try would come to again."""


class Experiments:
    """Runs them one after the other.

    Args:
        directory: of the sweep; what an earlier attempt has left there is taken up.
        group: what the runs are called together in wandb.
        complete, search: see `run_experiment`.
    """

    def __init__(self, directory: Path, group: str, console: Console, complete: Complete, search: Search) -> None:
        self.directory, self.group, self.console, self.complete, self.search = directory, group, console, complete, search
        self._left = {record["config_hash"]: (path, record) for path, record in records_in(directory)}

    def all(self) -> list[tuple[Path, dict[str, Any]]]:
        """Those that have a record, oldest first."""
        return sorted(self._left.values(), key=lambda one: one[0].name)

    def finished(self, config: Config) -> Outcome | None:
        """What became of an experiment that has come to its end before."""
        path, record = self._left.get(config_hash(plain(config)), (None, None))
        if record is None or record["status"] not in FINISHED:
            return None
        return Outcome(0 if record["status"] == "ok" else 1, path, record, None)

    def run(self, config: Config, overrides: list[str]) -> Outcome:
        """Run it, or go on with it where it was cut off; what cannot run here has a record all the same."""
        path, record = self._left.get(config_hash(plain(config)), (None, None))
        resumed = path if record is not None and _may_go_on(record) else None
        outcome = run_experiment(
            config, overrides, self.directory, self.console, self.group, resumed, self.complete, self.search
        )
        if outcome.record is None and outcome.exit_code == Unsupported.exit_code:
            outcome = self._recorded(outcome, config, overrides)
        if outcome.record is not None and outcome.path is not None:
            self._left[outcome.record["config_hash"]] = (outcome.path, outcome.record)
        return outcome

    def _recorded(self, outcome: Outcome, config: Config, overrides: list[str]) -> Outcome:
        """What cannot run here is an answer of the sweep's as any other: it has a record, and a row with its reason."""
        record = new_record(plain(config), overrides, secrets.token_hex(8))
        try:
            made = RunDirectory.claim(self.directory, record)
            made.finish("unsupported", outcome.message)
        except ThriftyError:  # a store that cannot be written: the row is lost, its reason was told
            return outcome
        return Outcome(outcome.exit_code, made.path, made.record, outcome.message)


def _may_go_on(record: dict[str, Any]) -> bool:
    """Whether it was cut off, and nobody is at it."""
    return record["status"] not in (*FINISHED, "running")


def records_in(directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The runs of a sweep's directory and their records, oldest first; those of which none can be read are left out."""
    for path in sorted(one.parent for one in directory.glob(f"[!.]*/{RESULT}")):
        try:
            yield path, read_record(path)
        except BadData:
            continue


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


def shared_modules(configs: Sequence[Config]) -> list[str]:
    """The code of the task, where all experiments have the same: imported once for all, it costs each half a second less.

    What one experiment alone needs stays out, or it would be counted into the others' memory.
    """
    names = {one.task.name for one in configs}
    module = registry.CHOICES["task"][names.pop()].module if len(names) == 1 else None
    return [] if module is None else [module]
