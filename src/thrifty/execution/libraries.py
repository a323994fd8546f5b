"""What a worker's native libraries are told before they are loaded; the record holds it."""

from __future__ import annotations

import os

SETTINGS = {
    # Threads that wait must not spin: beside any other load, a thread spinning for one that is off its core makes small
    # operations tens of times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc must not give memory back to the kernel after each step and fetch it again in the next: thousands of page faults,
    # some 2 % of a small GPT's step. 32 MiB is the most that every glibc takes; larger pieces are still mapped by themselves.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
}


def prepare() -> None:
    """Set them for the processes we start, except where the user has."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def in_force() -> dict[str, str | None]:
    """As the record has them."""
    return {name.lower().rstrip("_"): os.environ.get(name) for name in SETTINGS}
