"""What fresh processes told of one run, for the other runs of its grid: models of one shape load alike, whatever their weights.

A fresh interpreter's imports take longer than a small training. A grid makes a directory for this while it goes on; a run that
stands alone finds none, and measures for itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thrifty.atomic import write_atomically
from thrifty.execution.lean import LeanMeasurement, measurement_from
from thrifty.store import SHARED

_DECIDING = ("architecture", "shape", "form", "precision", "quantized")
"""Of the manifest, all that decides what loading and calling takes."""


class SharedLoading:
    """The measurements of a run's kind.

    Args:
        store: that the run is in.
        run: its directory.
        manifest: of its model.
        settings: what else decides: device, threads, number of processes.
    """

    def __init__(self, store: Path, run: Path, manifest: dict[str, Any], settings: dict[str, Any]) -> None:
        self.run, self.directory = run, store / SHARED / run.parent.name
        kind = json.dumps([{name: manifest.get(name) for name in _DECIDING}, settings], sort_keys=True)
        self.path = self.directory / f"loading-{hashlib.sha256(kind.encode()).hexdigest()}.json"

    def known(self) -> tuple[str, list[LeanMeasurement]] | None:
        """The run they were made in, and the measurements; None where there are none yet."""
        try:
            kept = json.loads(self.path.read_text())
            return kept["run"], [measurement_from(one) for one in kept["measured"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, found: list[LeanMeasurement]) -> None:
        """For the runs to come, where a grid has made room."""
        if self.directory.is_dir():
            with contextlib.suppress(OSError):  # the next run measures for itself
                write_atomically(self.path, json.dumps({"run": self.run.name, "measured": [asdict(one) for one in found]}))
