"""One experiment as part of a sweep's directory, whoever starts it: run once, gone on with where it was cut off, not again once finished."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.atomic import write_atomically
from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration, BadData
from thrifty.execution.launch import Outcome
from thrifty.record import config_hash
from thrifty.sinks.base import Sink
from thrifty.store import RESULT, read_record
from thrifty.sweeps.job import SweepJob, run_job
from thrifty.sweeps.runs import is_finished

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0
_LEADER_SECONDS = 120.0
"""How long the other ranks wait for the one that leads: it may wait for a lock itself."""


@dataclass(frozen=True)
class Standing:
    """What a directory holds of an experiment."""

    finished: Path | None = None
    """The run that has come to its end."""
    cut_off: Path | None = None
    """The run to go on with."""
    busy: Path | None = None
    """A run that somebody is at, as far as can be told."""


def standing(directory: Path, wanted: str, patience_s: float) -> Standing:
    """Where an experiment stands.

    Args:
        wanted: the whole hash of its configuration.
        patience_s: how long to wait for one that is running, as its process may just be ending.
    """
    end = time.monotonic() + patience_s
    while True:
        runs = _runs(directory, wanted)
        for path, record in runs:
            if is_finished(record):
                return Standing(finished=path)
        busy = next((path for path, record in runs if record["status"] == "running"), None)
        if busy is None or time.monotonic() >= end:
            return Standing(cut_off=next((path for path, record in runs if record["status"] != "running"), None), busy=busy)
        time.sleep(_LOOK_SECONDS)


def _runs(directory: Path, wanted: str) -> list[tuple[Path, dict[str, Any]]]:
    """Of one configuration, the latest first."""
    found = []
    for path in sorted((one.parent for one in directory.glob(f"[!.]*-{wanted[:12]}/{RESULT}")), reverse=True):
        with contextlib.suppress(BadData):
            record = read_record(path)
            if record["config_hash"] == wanted:
                found.append((path, record))
    return found


def run_into(directory: Path, config: Config, overrides: list[str], show: Sink) -> tuple[Outcome, bool]:
    """Run one experiment as part of a sweep, unless it has come to its end there; also whether it had.

    Raises:
        BadConfiguration: another process of this machine is at it.
    """
    wanted = config_hash(plain(config))

    def decide() -> Path | None:
        found = standing(directory, wanted, _PATIENCE_SECONDS)
        if found.busy is None:
            return found.finished or found.cut_off
        attempt = read_record(found.busy)["attempt"]
        if attempt["host"] == platform.node():
            raise BadConfiguration(
                f"sweep.into={directory}: {found.busy.name} is just being run, by process {attempt['pid']}; wait for it, or end it"
            )
        return None  # on a machine whose processes we cannot see: it may be lost, and keeps what it has

    taken = agreed(directory, decide)
    if taken is not None and is_finished(record := read_record(taken)):
        return Outcome(0, taken, record, None), True
    resumed = None if taken is None else str(taken)
    return run_job(SweepJob(0, config, overrides, str(directory), directory.name, resumed), show), False


def agreed(directory: Path, decide: Callable[[], Path | None], environment: Mapping[str, str] = os.environ) -> Path | None:
    """What the rank that leads decides, for all that a launcher has started to train together: looking one after the other, each might
    see something else.

    Raises:
        BadData: the one that leads has decided nothing.
    """
    start = _start_of(environment)
    if start is None:
        return decide()
    name, rank, of = start
    if rank == 0:
        decision = decide()
        directory.mkdir(parents=True, exist_ok=True)
        for other in range(1, of):  # a note for each, which removes it: so nobody has to wait for the last
            write_atomically(directory / f".{name}-{other}", "" if decision is None else str(decision))
        return decision
    note = directory / f".{name}-{rank}"
    end = time.monotonic() + _LEADER_SECONDS
    while not note.exists():
        if time.monotonic() >= end:
            raise BadData(f"{directory}: the process that leads has not said with what to begin; look for its error")
        time.sleep(_LOOK_SECONDS)
    text = note.read_text()
    note.unlink()
    return Path(text) if text else None


def _start_of(environment: Mapping[str, str]) -> tuple[str, int, int] | None:
    """A name that this start of a launcher's has alone, this process's rank, and how many there are; None where it is a single one."""
    if "TORCHELASTIC_RUN_ID" in environment and int(environment["WORLD_SIZE"]) > 1:
        again = environment.get(
            "TORCHELASTIC_RESTART_COUNT", "0"
        )  # what torchrun starts again after a failure is another start
        return (
            f"torchrun-{environment['TORCHELASTIC_RUN_ID']}-{again}",
            int(environment["RANK"]),
            int(environment["WORLD_SIZE"]),
        )
    if "SLURM_STEP_ID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        again = environment.get("SLURM_RESTART_COUNT", "0")
        name = f"slurm-{environment['SLURM_JOB_ID']}-{environment['SLURM_STEP_ID']}-{again}"
        return name, int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
    return None
