"""A line on the terminal that says how far a measurement is."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from thrifty.instrument.pairs import Measured
    from thrifty.instrument.verify import Trial

_BAR = 30
"""Characters."""
_REST_SECONDS = 0.1


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


class FormatProgress(_Line):
    """Of the measuring of formats."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._begin = time.monotonic()

    def tell(self, name: str, done: int, of: int) -> None:
        """After each format of a round."""
        left = (of - done) * (time.monotonic() - self._begin) / done
        self._write(f"{done} of {of}, about {left:.0f} s left; the last: {name}")


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


class PredictionProgress(_Line):
    """Of predictions, at most ten times a second."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._begin: tuple[int, float] | None = None
        self._written = 0.0

    def tell(self, done: int, of: int) -> None:
        """After each batch."""
        now = time.monotonic()
        if self._begin is None:
            self._begin = done, now  # the first has the loading in it, which tells no pace
        first, begin = self._begin
        if now - self._written < _REST_SECONDS:
            return
        self._written = now
        full = _BAR * done // of
        pace = f", {(done - first) / (now - begin):,.0f} a second" if done > first and now > begin else ""
        self._write(f"[{'#' * full}{'.' * (_BAR - full)}] {done:,} of {of:,} predictions{pace}")
