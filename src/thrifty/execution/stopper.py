"""Who is asked at each validation whether a training is worth going on with. Imports no torch."""

from __future__ import annotations

from typing import Protocol

from thrifty.events import Validated


class Stopper(Protocol):
    """Asked in the process that has started the worker, which waits for the answer; must not fail the run."""

    known_before: tuple[str, ...]
    """Metrics that it wants to know with the first validation already: `size/parameters`, `infer/flops_per_sample`."""

    def verdict(self, validated: Validated) -> str | None:
        """Why to stop, in words that `at step 40 of 200` can follow; None where training is to go on. At the last step nobody heeds it."""
        ...
