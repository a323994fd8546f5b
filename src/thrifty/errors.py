"""The ways a run can be refused or end badly, each with the exit code the contract gives it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ThriftyError(Exception):
    """Something the user can act on. The message is one line: what was given, what is allowed, what to do.

    Names from outside, as a hostile file has them, are part of some: characters that a terminal would act on are shown as escapes.
    """

    exit_code = 1

    def __init__(self, message: object = "") -> None:
        super().__init__("".join(one if one.isprintable() else ascii(one)[1:-1] for one in str(message)))


class BadConfiguration(ThriftyError):
    """Gate 1: wrong whatever the machine or the data (unknown key, type, range, illegal pair)."""

    exit_code = 2


class Unsupported(ThriftyError):
    """Gate 2: right, but not here (device, precision, missing extra)."""

    exit_code = 3
    status = "unsupported"


class BadData(ThriftyError):
    """Gate 3: a file or a table that cannot be used, or must not be trusted."""

    exit_code = 4


class OutOfMemory(ThriftyError):
    """The run needed more memory than there is, or its process was killed."""

    exit_code = 5


class Diverged(ThriftyError):
    """The loss became infinite or not a number."""

    exit_code = 6


def nearest(given: str, allowed: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the allowed name most like `given`, or an empty string."""
    matches = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.55)
    return f"; did you mean '{matches[0]}'?" if matches else ""
