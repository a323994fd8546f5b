"""Which GPUs CUDA would find, told without torch: what divides a machine must not wait for its imports."""

from __future__ import annotations

import os
from pathlib import Path

_DRIVER = Path("/proc/driver/nvidia/gpus")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus() -> tuple[str, ...]:
    """By what `CUDA_VISIBLE_DEVICES` calls them: those it names, or the numbers of all there are; empty where there are none."""
    given = os.environ.get(_VISIBLE)
    if given is not None:
        return tuple(one.strip() for one in given.split(",") if one.strip() not in ("", "-1"))
    try:
        return tuple(str(number) for number in range(len(list(_DRIVER.iterdir()))))
    except OSError:
        return ()
