"""What lies at a path that somebody typed."""

from __future__ import annotations

import stat
from pathlib import Path


def kind_of(given: str | Path, expand: bool = False) -> str | None:
    """`file`, `folder` or `other`, of a link what it leads to; None where nothing is, where we may not look, and of what is no path.

    Args:
        expand: whether `~` means somebody's home, as where it is opened so.
    """
    try:
        path = Path(given)
        mode = (path.expanduser() if expand else path).stat().st_mode
    except (OSError, RuntimeError, ValueError):  # RuntimeError: `~nobody`
        return None
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
