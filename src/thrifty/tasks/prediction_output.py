"""Where predictions are written to, where they are not to be printed."""

from __future__ import annotations

from pathlib import Path

from thrifty.atomic import write_atomically
from thrifty.errors import BadConfiguration


def require_writable(output: Path | None) -> None:
    """Refuse, before any work, what cannot be the name of a new file; None is printed.

    Raises:
        BadConfiguration: a folder, or a file in one that is not there.
    """
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise BadConfiguration(f"{output}: predictions need the name of a file in a folder that exists")


def write_predictions(output: Path, text: str) -> None:
    """The file, whole or not at all.

    Raises:
        BadConfiguration: it cannot be written.
    """
    try:
        write_atomically(output, text)
    except OSError as error:
        raise BadConfiguration(f"{output}: cannot be written ({error.strerror}); name another file") from error
