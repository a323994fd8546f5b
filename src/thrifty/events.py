"""What a run tells while it runs. Workers send these, sinks consume them; neither knows the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Anything a run tells."""


@dataclass(frozen=True)
class Preparing(Event):
    """A phase begins that has no steps to count."""

    what: str


@dataclass(frozen=True)
class Told(Event):
    """A sentence for whoever reads along, that stays."""

    sentence: str


@dataclass(frozen=True)
class Started(Event):
    """The run has passed every gate and owns its directory."""

    path: str
    id: str
    config: dict[str, Any]
    about: list[str]


HEARD = "heard"
"""What the command line answers to `Started` once its sinks have heard it; the worker waits for that before it trains."""


@dataclass(frozen=True)
class Progress(Event):
    """Where training stands; told a few times a second at most."""

    step: int
    steps: int
    seconds: float
    loss: float
    samples_per_s: float
    remaining_s: float


@dataclass(frozen=True)
class HistoryRow(Event):
    """A point of the run's curves: metric name -> value at `step`."""

    step: int
    seconds: float
    values: dict[str, float]


@dataclass(frozen=True)
class Validated(Event):
    """A question, where somebody is there to answer it: is the training worth going on with?"""

    step: int
    steps: int
    """Of the whole training."""
    values: dict[str, float]
    """Metrics of this validation, the time trained so far, and those of the model that are known before it is trained."""


@dataclass(frozen=True)
class Finished(Event):
    """The record is written."""

    path: str
    record: dict[str, Any]
    exit_code: int


@dataclass(frozen=True)
class SweepEnded(Event):
    """Many experiments are over."""

    path: str
    """The sweep's directory."""
    name: str
    what: dict[str, Any]
    """What was looked for: the overrides, and of a search its objectives and constraints."""
    summary: dict[str, float]
    """How many runs ended how, and what a search has found."""
    rows: list[dict[str, Any]]
    """One a run, all with the same keys."""


@dataclass(frozen=True)
class Refused(Event):
    """A gate said no; nothing was written."""

    message: str
    exit_code: int
    details: str = field(default="", repr=False)
