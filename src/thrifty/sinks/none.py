"""logger=none: tells nobody."""

from __future__ import annotations

from thrifty.config.choices.loggers import Logger
from thrifty.events import Event


class NoSink:
    """Takes no note of anything."""

    def __init__(self, config: Logger, group: str | None = None) -> None:
        self.config, self.group = config, group

    def handle(self, event: Event) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
