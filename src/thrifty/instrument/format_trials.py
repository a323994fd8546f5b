"""What each format costs for one run's weights: bytes, writing, loading and the memory that loading takes.

Every figure is from a fresh process, formats in random order in each round, so that what drifts meets all alike.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thrifty.execution.format_process import format_process
from thrifty.execution.lean import LeanFailed
from thrifty.formats.registry import file_suffix, named


@dataclass
class Samples:
    """One figure of all rounds."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest."""
        return max(self.values)


@dataclass
class Loading:
    """Of one way to load."""

    seconds: Samples = field(default_factory=Samples)
    """Until every byte of every tensor was read; the file lies in memory, as it was just written."""
    peak_mib: Samples = field(default_factory=Samples)
    """Highest resident memory, pages of the file included, above what the process had before; empty where it is not told."""


@dataclass
class FormatFinding:
    """What was found of one format."""

    name: str
    bytes: int = 0
    ratio: float = 0.0
    """To the run's model.safetensors."""
    write_s: Samples = field(default_factory=Samples)
    """Until the file is on the disk."""
    fully: Loading = field(default_factory=Loading)
    """All tensors held at once."""
    lazily: Loading | None = None
    """One tensor after the other, each let go before the next; None where the format reads all or nothing."""
    reason: str | None = None
    """Why there are no figures."""


def measure_formats(
    run: Path, dense_bytes: int, names: Sequence[str], rounds: int, tell: Callable[[str, int, int], None], seed: int = 0
) -> list[FormatFinding]:
    """Measure formats by name, each `rounds` times; one that fails says why, and the others go on.

    Args:
        run: directory whose weights are written.
        dense_bytes: of its model.safetensors.
        tell: called with a format's name, how many are done, and of how many.
    """
    found = {name: FormatFinding(name, lazily=Loading() if named(name)[0].lazy else None) for name in names}
    order, done = random.Random(seed), 0
    with tempfile.TemporaryDirectory(prefix="thrifty-") as scratch:
        for _ in range(rounds):
            for name in order.sample(list(found), len(found)):
                one = found[name]
                if one.reason is None:
                    one.reason = _round(one, run, Path(scratch) / f"model{file_suffix(name)}", order)
                done += 1
                tell(name, done, rounds * len(found))
    for one in found.values():
        one.ratio = one.bytes / dense_bytes
    return list(found.values())


def _round(one: FormatFinding, run: Path, path: Path, order: random.Random) -> str | None:
    """Write once and load once each way; returns why it could not be done."""
    said = _ask(one.name, {"do": "write", "run": str(run.resolve()), "format": one.name, "path": str(path)})
    if isinstance(said, LeanFailed):
        return said.reason
    one.bytes = said["bytes"]
    one.write_s.values.append(said["seconds"])
    ways = [(False, one.fully), *([(True, one.lazily)] if one.lazily is not None else [])]
    for lazily, loading in order.sample(ways, len(ways)):
        said = _ask(one.name, {"do": "read", "path": str(path), "lazily": lazily})
        if isinstance(said, LeanFailed):
            return said.reason
        loading.seconds.values.append(said["seconds"])
        if said["reason"] is None:
            loading.peak_mib.values.append(said["peak_mib"] - said["before_mib"])
    path.unlink()
    return None


def _ask(name: str, task: dict[str, Any]) -> dict[str, Any] | LeanFailed:
    with format_process(name) as process:
        return process.ask(task)
