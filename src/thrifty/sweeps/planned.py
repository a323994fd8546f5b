"""What a sweep means to run next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from thrifty.config.schema import Config
from thrifty.execution.launch import Outcome
from thrifty.sweeps.stopping import Stopping


@dataclass(frozen=True)
class Planned:
    """An experiment to be run."""

    key: int
    """Names it within the sweep."""
    label: str
    """What sets it apart from the others."""
    overrides: list[str]
    config: Config | None
    """What they compose to; None where they go to nothing."""
    refusal: Outcome | None = None
    """Why not, then."""
    stopping: Stopping | None = None
    """By what it is ended early; None where it is not."""


class Plan(Protocol):
    """Where a sweep's experiments come from."""

    def next(self) -> Planned | None:
        """The next to be started; None where none is, now."""
        ...

    def ended(self, one: Planned, outcome: Outcome) -> str | None:
        """What became of it; returns why it failed, where it did."""
        ...

    def left(self, one: Planned) -> None:
        """It was cut off by a stop, or never begun; it is run when the sweep goes on."""
        ...

    def so_far(self) -> str:
        """The best until now, in a few words; empty where there is no such thing."""
        ...
