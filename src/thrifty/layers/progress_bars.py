"""torch's progress bars, of compiling and exporting."""

from __future__ import annotations

import threading


def hold_progress_bars() -> None:
    """Such a bar, off or not, takes a lock between processes, which ours would leave behind: they end at once."""
    from torch.hub import tqdm  # pyright: ignore[reportPrivateImportUsage]

    if hasattr(tqdm, "set_lock"):  # else torch's own, which is a stand-in
        tqdm.set_lock(threading.RLock())
