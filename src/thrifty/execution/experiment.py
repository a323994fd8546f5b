"""One experiment with its sinks: what `python run.py` does, and a sweep for each of its points."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thrifty.config import registry
from thrifty.config.overrides import parse
from thrifty.config.schema import Config
from thrifty.errors import BadData, ThriftyError
from thrifty.events import Event, Finished, Preparing, Told
from thrifty.execution.batch_size import BatchSize, find_batch_size
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.execution.dense import beginning_run, compressed_before
from thrifty.execution.fork_server import warm_up
from thrifty.execution.launch import Outcome, launch
from thrifty.execution.ranks import ranks_to_start
from thrifty.execution.stopper import Stopper
from thrifty.execution.turns import turns
from thrifty.sinks.base import Sink
from thrifty.store import find_run, read_record

Complete = Callable[[Path, dict[str, Any], Callable[[str], None]], None]
"""(directory, record, tell) -> None: adds to a finished record, on disk too, what only the command line can find out."""


@dataclass(frozen=True)
class Found:
    """What a search ends with."""

    config: Config
    """The winner's, to be run."""
    beginning: Beginning
    """What that run begins with: weights, and what was found."""


Search = Callable[[Config, list[str], Path, Callable[[str], None]], Found]
"""(config, overrides, dense model's run, tell) -> Found: looks for what method=optimize is to run."""


def run_experiment(
    config: Config,
    overrides: list[str],
    parent: Path,
    show: Sink,
    group: str | None = None,
    resumed: Path | None = None,
    complete: Complete | None = None,
    search: Search | None = None,
    stopper: Stopper | None = None,
) -> Outcome:
    """Run it in a worker, its events going to who shows them and to the logger.

    Args:
        show: closed after each training that the experiment takes, and used again for the next.
        resumed: directory of a run that goes on; None begins one.
        complete: called with the record of a compression that ended well, before the logger hears of its end.
        search: of method=optimize, called once the dense model is there; one that is resumed searches anew.
        stopper: asked at each validation whether to go on; not of a dense model that is trained first.
    """
    searches = config.method.name == "optimize"
    if searches or (config.method.name != "train" and resumed is None):
        search = search if searches else None
        return _compression(config, overrides, parent, show, group, resumed, complete, search, stopper)
    origin = None
    if resumed is not None and config.method.name != "train":
        try:
            origin = find_run(Path(config.store), read_record(resumed)["parents"][0])
        except (ThriftyError, IndexError) as error:
            return Outcome(
                BadData.exit_code, None, None, f"resume={resumed.name}: the dense model it began with is gone ({error})"
            )
    begun = Beginning(resumed=resumed, origin=origin)
    return _experiment(config, overrides, parent, show, group, begun, complete if origin is not None else None, stopper)


def _compression(
    config: Config,
    overrides: list[str],
    parent: Path,
    show: Sink,
    group: str | None,
    resumed: Path | None,
    complete: Complete | None,
    search: Search | None,
    stopper: Stopper | None,
) -> Outcome:
    """What begins with a dense model, which is trained first where there is none."""

    def tell(sentence: str) -> None:
        show.handle(Told(sentence))

    def make(first: Config, its_overrides: list[str], directory: Path, origin: Path | None) -> Outcome:
        return _experiment(first, its_overrides, directory, show, group, Beginning(origin=origin))

    try:
        dense = beginning_run(config, overrides, tell, make)
        if dense.path is None:
            assert dense.failed is not None
            return dense.failed
        if search is None:
            begun = Beginning(origin=dense.path, compressed=compressed_before(config, dense.path, tell))
        else:
            found = search(config, overrides, dense.path, tell)
            config, begun = found.config, replace(found.beginning, resumed=resumed)
    except ThriftyError as error:
        return Outcome(error.exit_code, None, None, str(error))
    return _experiment(config, overrides, parent, show, group, begun, complete, stopper)


def _experiment(
    config: Config,
    overrides: list[str],
    parent: Path,
    show: Sink,
    group: str | None = None,
    beginning: Beginning = FROM_NOTHING,
    complete: Complete | None = None,
    stopper: Stopper | None = None,
) -> Outcome:
    warm_up()  # its imports go on while the logger makes its own
    try:
        ranks = ranks_to_start(config.devices)
        if not ranks[0].leads:  # another command line tells of the run
            return launch(config, overrides, parent, lambda event: None, beginning, ranks)
        logger = registry.load("logger", config.logger.name)(config.logger, group)
    except ThriftyError as error:
        return Outcome(error.exit_code, None, None, str(error))
    sinks = [Guarded(show), Guarded(logger)]

    def tell(sentence: str) -> None:
        handle(Preparing(sentence))

    def handle(event: Event) -> None:
        if complete is not None and isinstance(event, Finished) and event.record["status"] == "ok":
            complete(Path(event.path), event.record, tell)
        for sink in sinks:
            sink.handle(event)

    try:
        beginning = replace(beginning, batch_size=_batch_size(config, overrides, beginning.resumed, handle))
        return launch(config, overrides, parent, handle, beginning, ranks, stopper)
    finally:
        for sink in sinks:
            sink.close()


def _batch_size(
    config: Config, overrides: list[str], resumed: Path | None, handle: Callable[[Event], None]
) -> BatchSize | None:
    """For batch_size=auto: of a run that goes on the size it had, else the one that is found now."""
    if config.batch_size != "auto":
        return None
    if resumed is not None:
        had = read_record(resumed)["data"].get("batch_size")
        if had is not None:
            return BatchSize(had, f"batch_size=auto: {had}, as before the run was cut off")
    with turns().alone():
        return find_batch_size(config, [one.key_or_group for one in parse(overrides)], handle)


class Guarded:
    """A sink whose failure is told in a line and costs the run nothing: from then on it is left out."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.failed = False

    def handle(self, event: Event) -> None:
        """Pass the event on."""
        if not self.failed:
            self._try(lambda: self.sink.handle(event))

    def close(self) -> None:
        """Close the sink, of which one that failed may still hold something."""
        self._try(self.sink.close)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - SystemExit: rich ends the program when its pipe is closed
            told, self.failed = self.failed, True
            reason = (str(error).splitlines() or [""])[0]
            if not told:
                with contextlib.suppress(OSError, AttributeError):
                    sys.stderr.write(
                        f"{type(self.sink).__name__}: {type(error).__name__}: {reason}; the run goes on without it\n"
                    )
