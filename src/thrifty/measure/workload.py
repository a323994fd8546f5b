"""What an arm measures: a call, and where it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Workload:
    """Something that can be called again and again, doing the same work each time."""

    call: Callable[[], object]
    """One unit of work; what it returns is looked at once, after the first call: numbers that are none make the arm fail."""
    device: torch.device
    examples: int = 1
    """Examples a call computes, so that arms of different batch sizes compare by example."""
    lead_in: Callable[[], object] | None = None
    """A small part of a call, for the untimed beginning of blocks that whole calls are too long for; None where none can be had."""
