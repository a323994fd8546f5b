"""What a worker's native libraries are told before they are loaded; the record holds it."""

from __future__ import annotations

import os

WAITING = {
    # Threads that wait sleep, but not before they have spun for some 10 microseconds (libgomp alone knows it). A nano GPT's step on
    # two cores takes 22 ms where they sleep at once and 12 to 15 so, as where they spin for milliseconds, which is the library's
    # own way. But beside a process that keeps one core busy these are 23, 33 and hundreds: a thread spins for one off its core.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "1000",
}
SETTINGS = {
    **WAITING,
    # glibc must not give memory back to the kernel after each step and fetch it again in the next: thousands of page faults,
    # some 2 % of a small GPT's step. 32 MiB is the most that every glibc takes; larger pieces are still mapped by themselves.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
}


def prepare() -> None:
    """Set them for the processes we start, except where the user has; how threads wait only as a whole."""
    theirs = WAITING.keys() & os.environ.keys()
    for name, value in SETTINGS.items():
        if not (theirs and name in WAITING):
            os.environ.setdefault(name, value)


def in_force() -> dict[str, str | None]:
    """As the record has them."""
    return {name.lower().rstrip("_"): os.environ.get(name) for name in SETTINGS}
