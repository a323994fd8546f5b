"""What libraries say of files they cannot read, in one line of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thrifty.errors import BadData


@contextmanager
def said_in_a_line(path: Path, kind: str, *errors: type[Exception]) -> Iterator[None]:
    """Reading a file: these errors are `BadData`.

    Args:
        kind: what the file should be, with its article.
    """
    try:
        yield
    except errors as error:
        raise BadData(f"{path}: cannot be read as {kind} ({in_a_line(error)}); export it again") from error


def in_a_line(error: Exception) -> str:
    """What an error says: libraries take several lines."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:200] or type(error).__name__
