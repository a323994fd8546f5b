"""What a run begins with where it does not begin from nothing. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.execution.batch_size import BatchSize


@dataclass(frozen=True)
class Beginning:
    """What was found before the run began; all of it None of a training from the beginning."""

    batch_size: BatchSize | None = None
    """For batch_size=auto."""
    resumed: Path | None = None
    """Directory of the run that goes on."""
    origin: Path | None = None
    """Directory of the run whose weights it begins with; `checkpoint` may name one where this does not."""
    compressed: Path | None = None
    """Directory of a run that has made the same compression; only what is left to be done with its weights is done."""
    candidate: bool = False
    """Whether a search is to judge its weights: they are made and kept, and the test split stays untouched."""
    search: dict[str, Any] | None = None
    """What a search has found, plain values, for the record of the run that it ends with."""


FROM_NOTHING = Beginning()
