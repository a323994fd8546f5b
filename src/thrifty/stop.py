"""A request to stop, turned into the end of the run at a safe place."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

REASONS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if hasattr(signal, "SIGUSR2"):  # what clusters send before they take a job's machine away
    REASONS[signal.SIGUSR2] = "terminated"
HOPELESS = "hopeless"
"""The reason of a training that whoever was asked has found not worth going on with: it alone ends, and as it should."""
EXIT_CODES = {"interrupted": 130, "terminated": 143, HOPELESS: 0}
STOPPED = tuple(code for code in EXIT_CODES.values() if code)
"""Exit codes of a run that was asked to stop, with all that goes on beside it: no error."""


class Stopped(BaseException):
    """Raised by the signal where nothing needs to be finished first. Not an Exception: nothing may swallow it."""


def status_of(reason: str) -> str:
    """The record's status for a reason to stop."""
    return "killed" if reason in ("interrupted", HOPELESS) else "preempted"


class StopRequest:
    """Remembers the first SIGINT, SIGTERM or SIGUSR2, for whoever looks; raises `Stopped` only where that does no harm."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._verdict = ""
        self._prompt = False
        self._deferred = 0

    def install(self) -> None:
        """Take over the signals of this process, and let them in where it was started with any held back."""
        for one in REASONS:
            signal.signal(one, self._receive)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, REASONS)

    def give_up(self, verdict: str) -> None:
        """End a training that is hopeless at its next step, unless something has asked to stop before.

        Args:
            verdict: why, in words that `at step 40 of 200` can follow.
        """
        if self.reason is None:
            self.reason, self._verdict = HOPELESS, verdict

    def in_words(self, reason: str) -> str:
        """A reason as the record tells it."""
        return self._verdict if reason == HOPELESS and self._verdict else reason

    @contextlib.contextmanager
    def prompt(self) -> Iterator[None]:
        """Within it a signal, also one that came before, ends the work at once.

        Raises:
            Stopped: from wherever the work stands.
        """
        self._prompt = True
        try:
            if self.reason is not None:
                raise Stopped(self.reason)
            yield
        finally:
            self._prompt = False

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it, inside `prompt`, a signal is only remembered: the work looks for itself."""
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first = self.reason is None
        self.reason = self.reason or REASONS[signal.Signals(number)]
        if first and self._prompt and not self._deferred:
            raise Stopped(self.reason)
