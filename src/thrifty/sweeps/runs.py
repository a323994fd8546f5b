"""The runs that a sweep need not make, or has only to go on with: those in its own directory, and those of earlier sweeps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import BadData
from thrifty.execution.launch import Outcome
from thrifty.identity import data_stamp, training_code
from thrifty.record import config_hash, environment
from thrifty.stop import HOPELESS
from thrifty.store import read_record, run_directories, run_directories_of

FINISHED = ("ok", "diverged", "unsupported")
"""Statuses that another try would come to again."""
_ANYWHERE = ("ok", "diverged")
"""Of another sweep's runs: what was not supported then may be installed by now."""
_SHORT = 12
"""Hex digits of the hash in a run's name."""
_SAME = ("host", "cpu", "python", "versions")


class Runs:
    """What is there already, by the hash of its configuration: names are read at once, records when they are asked for.

    Args:
        directory: of the sweep; what an earlier attempt has left there is taken up.
        store: where runs of other sweeps may do as well; None looks nowhere else.
        cores: that an experiment of this sweep has: with others it would have other timings.
    """

    def __init__(self, directory: Path, store: Path | None, cores: int) -> None:
        self.directory, self.store, self.cores = directory, store, cores
        self._known: dict[str, tuple[Path, dict[str, Any]]] = {}
        """Of this sweep, by the whole hash: those that have ended or were asked for."""
        self._own = _by_hash(run_directories_of(directory))

    @cached_property
    def _elsewhere(self) -> dict[str, list[Path]]:
        return {} if self.store is None else _by_hash(run_directories(self.store, besides=self.directory.name))

    @cached_property
    def _here(self) -> dict[str, Any]:
        return {key: value for key, value in environment().items() if key in _SAME}

    def all(self) -> list[tuple[Path, dict[str, Any]]]:
        """Those that have a record, those found elsewhere included, oldest first; each configuration once."""
        for short in self._own:
            if not any(one.startswith(short) for one in self._known):
                self._read_own(short)
        return sorted(self._known.values(), key=lambda one: one[0].name)

    def named(self, names: Iterable[str]) -> list[tuple[Path, dict[str, Any]]]:
        """Those of these names that have a record."""
        wanted = set(names)
        for short in {one.rpartition("-")[2] for one in wanted}:
            self._read_own(short)
        return [one for one in self._known.values() if one[0].name in wanted]

    def finished(self, config: Config) -> Outcome | None:
        """What became of an experiment that has come to its end before."""
        wanted = config_hash(plain(config))
        path, record = self._of_this_sweep(wanted)
        if record is None:
            path, record = self._found_elsewhere(wanted, config)
            if record is not None and path is not None:
                self._known[wanted] = (path, record)
        if record is None or path is None or not is_finished(record):  # none, or one that is to go on where it was cut off
            return None
        return outcome_of(path, record)

    def cut_off(self, config: Config) -> Path | None:
        """The run that an experiment goes on with, where one was cut off and nobody is at it."""
        path, record = self._of_this_sweep(config_hash(plain(config)))
        return path if record is not None and record["status"] != "running" and not is_finished(record) else None

    def add(self, outcome: Outcome) -> None:
        """Take note of a run that has ended."""
        if outcome.record is not None and outcome.path is not None:
            self._known[outcome.record["config_hash"]] = (outcome.path, outcome.record)

    def _of_this_sweep(self, wanted: str) -> tuple[Path | None, dict[str, Any] | None]:
        if wanted not in self._known:
            self._read_own(wanted[:_SHORT])
        return self._known.get(wanted, (None, None))

    def _read_own(self, short: str) -> None:
        """Note the runs of a short hash; of several of one configuration the one that has ended, else the latest."""
        for path in self._own.get(short, []):
            try:
                record = read_record(path)
            except BadData:
                continue
            before = self._known.get(record["config_hash"])
            if before is None or not is_finished(before[1]):
                self._known[record["config_hash"]] = (path, record)

    def _found_elsewhere(self, wanted: str, config: Config) -> tuple[Path | None, dict[str, Any] | None]:
        """The latest run of the same configuration, data and code, on this machine with as many cores."""
        for path in reversed(self._elsewhere.get(wanted[:_SHORT], [])):
            try:
                record = read_record(path)
            except BadData:
                continue
            there = record["environment"]
            if (
                record["config_hash"] == wanted
                and record["status"] in _ANYWHERE
                and there.get("cores") == self.cores
                and all(there.get(key) == value for key, value in self._here.items())
                and there.get("training_code") == training_code()
                and record["data"].get("stamp") == data_stamp(getattr(config.task, "path", None))
            ):
                return path, record
        return None, None


def outcome_of(path: Path, record: dict[str, Any]) -> Outcome:
    """Of a run that is finished."""
    return Outcome(0 if record["status"] == "ok" or HOPELESS in record["flags"] else 1, path, record, None)


def is_finished(record: dict[str, Any]) -> bool:
    """Whether its own sweep need not run it again; another would not end it early, or not there."""
    return record["status"] in FINISHED or (record["status"] == "killed" and HOPELESS in record["flags"])


def _by_hash(runs: Iterable[Path]) -> dict[str, list[Path]]:
    """Directories of runs by the hash at the end of their names, oldest first."""
    found: dict[str, list[Path]] = {}
    for path in runs:
        found.setdefault(path.name.rpartition("-")[2], []).append(path)
    return found
