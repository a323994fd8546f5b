"""What torch.compile leaves where its process is killed: half a library, which it takes for a whole one ever after.

Loading that ends in an error for some lengths, and in a bus error for others, so that it has to be found before.
"""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
"""Of 64 bits, the low byte first."""
_HEADER = struct.Struct("<40xQ10xHH2x")
"""Where the table of sections lies, which comes last in the file, the size of an entry, and how many it has."""


def remove_half_written() -> None:
    """Delete libraries in inductor's cache that are not whole, but for those that somebody is writing."""
    from filelock import Timeout
    from torch._inductor.codecache import get_lock_dir
    from torch._inductor.runtime.cache_dir_utils import cache_dir
    from torch.utils._filelock import FileLock

    for library in Path(cache_dir()).glob("*/*.so"):
        if not _is_half(library):
            continue
        key = library.name.partition(".")[0]
        with contextlib.suppress(Timeout), FileLock(str(Path(get_lock_dir()) / f"{key}.lock"), timeout=0):
            if _is_half(library):  # still, now that nobody is at it
                library.unlink(missing_ok=True)


def _is_half(library: Path) -> bool:
    """Whether it ends before the table that should end it."""
    try:
        with library.open("rb") as file:
            head = file.read(64)
        size = library.stat().st_size
    except OSError:
        return False
    if len(head) < 64:
        return True
    if not head.startswith(_MAGIC):
        return False
    begin, entry, entries = _HEADER.unpack(head)
    return begin + entry * entries > size or begin == 0
