"""One experiment of a sweep, as it is run by whoever runs it: a local slot, or a job of a cluster."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.errors import ThriftyError, Unsupported
from thrifty.events import Refused, Told
from thrifty.execution.experiment import run_experiment
from thrifty.execution.launch import Outcome
from thrifty.execution.turns import turns
from thrifty.record import new_record
from thrifty.sinks.base import Sink
from thrifty.store import RunDirectory
from thrifty.sweeps.stopping import Stopping, TrialStopper


@dataclass(frozen=True)
class SweepJob:
    """Values, names and paths, never objects with code in them."""

    key: int
    """Names it within its sweep, as long as it runs."""
    config: Config
    """What the overrides compose to."""
    overrides: list[str]
    directory: str
    """Of the sweep, in which the run's own is made."""
    group: str
    """What the runs of the sweep are called together in wandb."""
    resumed: str | None = None
    """Directory of the run that it goes on with."""
    stopping: Stopping | None = None
    """By what it is ended early; None where it is not."""


def run_job(job: SweepJob, show: Sink) -> Outcome:
    """Run it, or go on with it where it was cut off; what cannot run here has a record all the same."""
    from thrifty.instrument.optimize import search
    from thrifty.instrument.waterfall import fill  # takes long to import

    outcome = run_experiment(
        job.config,
        job.overrides,
        Path(job.directory),
        show,
        job.group,
        None if job.resumed is None else Path(job.resumed),
        _alone(fill),
        search,  # which makes weights beside others, and measures alone by itself
        None if job.stopping is None else TrialStopper(job.stopping, lambda sentence: show.handle(Told(sentence))),
    )
    if outcome.record is None and outcome.exit_code == Unsupported.exit_code:
        outcome = _recorded(job, outcome)
    if outcome.message is not None:
        show.handle(Refused(outcome.message, outcome.exit_code))
    return outcome


def _alone(measure: Callable[..., Any]) -> Callable[..., Any]:
    def within(*given: Any) -> Any:
        with turns().alone():
            return measure(*given)

    return within


def _recorded(job: SweepJob, outcome: Outcome) -> Outcome:
    """What cannot run here is an answer of the sweep's as any other: it has a record, and a row with its reason."""
    record = new_record(plain(job.config), job.overrides, secrets.token_hex(8))
    with contextlib.suppress(ThriftyError):  # a store that cannot be written: the row is lost, its reason is told
        made = RunDirectory.claim(Path(job.directory), record)
        made.finish("unsupported", outcome.message)
        return Outcome(outcome.exit_code, made.path, made.record, outcome.message)
    return outcome
