"""The runs that a sweep need not make, or has only to go on with: those in its own directory, and those of earlier sweeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import BadData
from thrifty.execution.launch import Outcome
from thrifty.identity import data_stamp, training_code
from thrifty.record import config_hash, environment
from thrifty.store import RESULT, read_record, run_directories

FINISHED = ("ok", "diverged", "unsupported")
"""Statuses that another try would come to again."""
_ANYWHERE = ("ok", "diverged")
"""Of another sweep's runs: what was not supported then may be installed by now."""
_SAME = ("host", "cpu", "python", "versions")


class Runs:
    """What is there already, by the hash of its configuration.

    Args:
        directory: of the sweep; what an earlier attempt has left there is taken up.
        store: where runs of other sweeps may do as well; None looks nowhere else.
        cores: that an experiment of this sweep has: with others it would have other timings.
    """

    def __init__(self, directory: Path, store: Path | None, cores: int) -> None:
        self.directory, self.cores = directory, cores
        self._own = {record["config_hash"]: (path, record) for path, record in records_in(directory)}
        self._elsewhere: dict[str, list[Path]] = {}
        if store is not None:
            own = directory.resolve()
            for path in run_directories(store):
                if path.parent.resolve() != own:
                    self._elsewhere.setdefault(path.name.rpartition("-")[2], []).append(path)
        self._here = {key: value for key, value in environment().items() if key in _SAME} if self._elsewhere else {}

    def all(self) -> list[tuple[Path, dict[str, Any]]]:
        """Those that have a record, those found elsewhere included, oldest first."""
        return sorted(self._own.values(), key=lambda one: one[0].name)

    def finished(self, config: Config) -> Outcome | None:
        """What became of an experiment that has come to its end before."""
        wanted = config_hash(plain(config))
        path, record = self._own.get(wanted, (None, None))
        if record is None or record["status"] not in FINISHED:
            if record is not None:  # it is to go on where it was cut off
                return None
            path, record = self._found_elsewhere(wanted, config)
            if record is None or path is None:
                return None
            self._own[wanted] = (path, record)
        return Outcome(0 if record["status"] == "ok" else 1, path, record, None)

    def cut_off(self, config: Config) -> Path | None:
        """The run that an experiment goes on with, where one was cut off and nobody is at it."""
        path, record = self._own.get(config_hash(plain(config)), (None, None))
        return path if record is not None and record["status"] not in (*FINISHED, "running") else None

    def add(self, outcome: Outcome) -> None:
        """Take note of a run that has ended."""
        if outcome.record is not None and outcome.path is not None:
            self._own[outcome.record["config_hash"]] = (outcome.path, outcome.record)

    def _found_elsewhere(self, wanted: str, config: Config) -> tuple[Path | None, dict[str, Any] | None]:
        """The latest run of the same configuration, data and code, on this machine with as many cores."""
        for path in reversed(self._elsewhere.get(wanted[:12], [])):
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


def records_in(directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The runs of a sweep's directory and their records, oldest first; those of which none can be read are left out."""
    for path in sorted(one.parent for one in directory.glob(f"[!.]*/{RESULT}")):
        try:
            yield path, read_record(path)
        except BadData:
            continue
