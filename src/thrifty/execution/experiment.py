"""One experiment with its sinks: what `python run.py` does, and a grid for each of its points."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from thrifty.config import registry
from thrifty.config.schema import Config
from thrifty.events import Event
from thrifty.execution.launch import Outcome, launch
from thrifty.sinks.base import Sink
from thrifty.sinks.terminal import TerminalSink


def run_experiment(config: Config, overrides: list[str], parent: Path, console: Console, group: str | None = None) -> Outcome:
    """Run it in a worker, its events going to the terminal and the logger."""
    sinks: list[Sink] = [TerminalSink(console), registry.load("logger", config.logger.name)(config.logger, group)]
    failed: set[Sink] = set()

    def guarded(sink: Sink, call: Callable[[], None]) -> None:
        if sink in failed:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - a sink that fails must not cost the run its record
            failed.add(sink)
            sys.stderr.write(f"{type(sink).__name__}: {type(error).__name__}: {error}; the run goes on without it\n")

    def handle(event: Event) -> None:
        for sink in sinks:
            guarded(sink, lambda sink=sink: sink.handle(event))

    try:
        return launch(config, overrides, parent, handle)
    finally:
        for sink in sinks:
            guarded(sink, sink.close)
