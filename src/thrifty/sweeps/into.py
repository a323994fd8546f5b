"""One experiment as part of a sweep's directory, whoever starts it: run once, gone on with where it was cut off, not again once finished."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.errors import BadData
from thrifty.store import RESULT, read_record
from thrifty.sweeps.runs import FINISHED

_LOOK_SECONDS = 0.2
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
            if record["status"] in FINISHED:
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


def agreed(directory: Path, decide: Callable[[], Path | None], environment: Mapping[str, str] = os.environ) -> Path | None:
    """What the rank that leads decides, for all that a launcher has started to train together: looking one after the other, each might
    see something else.

    Raises:
        BadData: the one that leads has decided nothing.
    """
    place = _meeting(environment)
    if place is None:
        return decide()
    name, leads = place
    note = directory / f".{name}"
    if leads:
        decision = decide()
        directory.mkdir(parents=True, exist_ok=True)
        temporary = directory / f".{name}.new"
        temporary.write_text("" if decision is None else str(decision))
        temporary.replace(note)
        return decision
    end = time.monotonic() + _LEADER_SECONDS
    while not note.exists():
        if time.monotonic() >= end:
            raise BadData(f"{directory}: the process that leads has not said with what to begin; look for its error")
        time.sleep(_LOOK_SECONDS)
    text = note.read_text()
    return Path(text) if text else None


def forget(directory: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Remove what `agreed` has left, once the run is over; done by the rank that leads."""
    place = _meeting(environment)
    if place is not None and place[1]:
        (directory / f".{place[0]}").unlink(missing_ok=True)


def _meeting(environment: Mapping[str, str]) -> tuple[str, bool] | None:
    """A name that this start of a launcher's has alone, and whether this process leads; None where it is a single one."""
    if "TORCHELASTIC_RUN_ID" in environment and int(environment["WORLD_SIZE"]) > 1:
        # One that torchrun starts again after a failure is another start.
        again = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
        return f"torchrun-{environment['TORCHELASTIC_RUN_ID']}-{again}", environment["RANK"] == "0"
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_STEP_ID" in environment:
        again = environment.get("SLURM_RESTART_COUNT", "0")
        return f"slurm-{environment['SLURM_JOB_ID']}-{environment['SLURM_STEP_ID']}-{again}", environment["SLURM_PROCID"] == "0"
    return None
