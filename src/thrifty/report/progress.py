"""A line on the terminal that says how far a comparison is."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from thrifty.instrument.pairs import Measured


class ComparisonProgress:
    """Overwrites one line where there is a terminal, and says nothing elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._shown = False

    def __enter__(self) -> ComparisonProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write("")

    def tell(self, metric: str, found: Measured) -> None:
        """After each pair."""
        width = "" if found.comparison is None else f", interval +-{100 * found.comparison.half_width:.1f} %"
        self._write(f"{metric}: {len(found.pairs)} pairs, {found.seconds:.1f} s{width}")

    def _write(self, text: str) -> None:
        if self.stream.isatty() and (text or self._shown):
            self.stream.write(f"\r\x1b[K{text}")
            self.stream.flush()
            self._shown = bool(text)
