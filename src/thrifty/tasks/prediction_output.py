"""Where predictions are written to, where they are not to be printed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from thrifty.atomic import write_atomically
from thrifty.errors import BadConfiguration
from thrifty.paths import kind_of


def require_writable(output: Path | None, given: str) -> None:
    """Refuse, before any work, what cannot be the name of a new file; None is printed.

    Args:
        given: what is predicted for, as it was typed.

    Raises:
        BadConfiguration: a folder, a file in one that is not there, or what the predictions are for.
    """
    if output is None:
        return
    if kind_of(output) == "folder" or kind_of(output.parent) != "folder":
        raise BadConfiguration(f"{output}: predictions need the name of a file in a folder that exists")
    with contextlib.suppress(OSError, ValueError):  # a prompt is no path
        if output.samefile(given):
            raise BadConfiguration(f"-o {output}: is the input itself, which would be lost; name another file")


def write_predictions(output: Path, content: str | bytes) -> None:
    """A file, whole or not at all; into a device or a pipe, as `/dev/stdout` is, straight.

    Raises:
        BadConfiguration: it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if output.exists() and not output.is_file():
            with output.open("wb") as file:
                file.write(data)
        else:
            write_atomically(output.resolve(), data)  # what a link points to, not the link
    except OSError as error:
        raise BadConfiguration(f"{output}: cannot be written ({error.strerror}); name another file") from error
