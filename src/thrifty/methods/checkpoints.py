"""Checkpoints of a training: written now and then, few kept, the newest good one found again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from thrifty.errors import BadData
from thrifty.formats.tensor_tree import load_tree, save_tree

FOLDER = "checkpoints"
_MOST_SHARE = 0.01
"""Of the time, that writing them may take: large models are written less often."""


class Checkpoints:
    """Those of one run.

    Args:
        run: its directory.
        of: hash of the configuration and of the data, which a training that goes on must share.
        seconds: least time between two; 0 writes only where `save` is called.
        keep: the newest so many stay: one could be damaged.
    """

    def __init__(self, run: Path, of: str, seconds: float = 0.0, keep: int = 2) -> None:
        self.directory, self.of, self.seconds, self.keep = run / FOLDER, of, seconds, keep
        self.written_bytes = 0
        """In all, also of those that are gone."""
        self._cost = 0.0
        self._last = time.perf_counter()

    def due(self) -> bool:
        """Whether it is time for another."""
        apart = max(self.seconds, self._cost / _MOST_SHARE)
        return self.seconds > 0 and time.perf_counter() - self._last >= apart

    def save(self, step: int, state: Any) -> None:
        """Write the state after `step` optimiser steps, and remove what is more than enough.

        Raises:
            OSError: the disk is full or cannot be written; what was there before stays.
        """
        begin = time.perf_counter()
        self.directory.mkdir(exist_ok=True)
        self.written_bytes += save_tree(self.directory / f"step-{step:08d}", {"step": step, "of": self.of, **state})
        for index in self._indices()[: -self.keep]:
            index.unlink(missing_ok=True)  # first: without it the other is nothing
            index.with_suffix(".safetensors").unlink(missing_ok=True)
        self._last = time.perf_counter()
        self._cost = self._last - begin

    def newest(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest that is whole, and a sentence on each newer one that is not; None where there is none.

        Raises:
            BadData: it is of another configuration, or of other data.
        """
        told = []
        for index in reversed(self._indices()):
            try:
                found = load_tree(index)
            except BadData as error:
                told.append(f"checkpoint {index.stem} was passed over: {error}")
                continue
            if found["of"] != self.of:
                raise BadData(
                    f"{index}: is of another configuration, or the data is no longer the same; start anew, without resume"
                )
            return found, told
        return None, told

    def remove(self) -> None:
        """All of them: the run is finished."""
        if self.directory.is_dir():
            for one in self.directory.iterdir():
                one.unlink()
            self.directory.rmdir()

    def _indices(self) -> list[Path]:
        return sorted(self.directory.glob("step-*.json"))
