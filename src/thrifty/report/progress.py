"""A line on the terminal that says how far a measurement is."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from thrifty.instrument.pairs import Measured
    from thrifty.instrument.verify import Trial


class _Line:
    """Overwrites one line where there is a terminal, and says nothing elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self.stream.isatty() and (text or self._shown):
            self.stream.write(f"\r\x1b[K{text}")
            self.stream.flush()
            self._shown = bool(text)


class ComparisonProgress(_Line):
    """Of a comparison."""

    def tell(self, metric: str, found: Measured) -> None:
        """After each pair."""
        width = "" if found.comparison is None else f", interval +-{100 * found.comparison.half_width:.1f} %"
        self._write(f"{metric}: {len(found.pairs)} pairs, {found.seconds:.1f} s{width}")


class TrialProgress(_Line):
    """Of the instrument's trial of itself."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._begin = time.monotonic()
        self._before: int | None = None

    def tell(self, trial: Trial, done: int, of: int) -> None:
        """After each trial."""
        if self._before is None:
            self._before, self._begin = done, time.monotonic()  # what was kept, and the first, tell no pace
        elif done > self._before:
            left = (of - done) * (time.monotonic() - self._begin) / (done - self._before)
            self._write(
                f"{done} of {of} comparisons, {left / 60:.0f} min left; the last: truth {100 * trial.slowdown:.0f} %, found {100 * (trial.ratio - 1):+.1f} %"
            )
