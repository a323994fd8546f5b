"""`thrifty cache`: the dense models and the data that are kept, and how to be rid of them."""

from __future__ import annotations

import argparse
import time

from rich.table import Table

from thrifty import cache
from thrifty.errors import BadConfiguration, nearest
from thrifty.report.numbers import duration
from thrifty.report.terminal import output_console, show


def cache_command(options: argparse.Namespace) -> int:
    """Show the entries, or remove them."""
    there = cache.entries(options.store)
    if options.clear is not None:
        return _clear(there, options.clear)
    if not there:
        print(f"{cache.cache_directory(options.store)}: is empty; `python run.py method=prune` keeps its dense model there")
        return 0
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, side in (("kept", "left"), ("MiB", "right"), ("last used", "right")):
        table.add_column(heading, justify=side, no_wrap=True)  # pyright: ignore[reportArgumentType]
    for one in reversed(there):
        table.add_row(one.path.name, f"{one.size / 2**20:.1f}", f"{duration(max(0.0, time.time() - one.used))} ago")
    show(table, output_console())
    total = sum(one.size for one in there)
    print(
        f"\n{total / 2**30:.3f} of at most {cache.bound_bytes() / 2**30:g} GiB ({cache.BOUND}) in {cache.cache_directory(options.store)}"
    )
    return 0


def _clear(there: list[cache.Entry], given: str) -> int:
    named = [one for one in there if given in one.path.name]
    if given and not named:
        raise BadConfiguration(
            f"--clear {given}: the cache has no such entry{nearest(given, [one.path.name for one in there])}"
        )
    gone = [one for one in named if cache.remove(one)]
    print(f"removed {len(gone)} of them, {sum(one.size for one in gone) / 2**20:.1f} MiB")
    for one in named:
        if one not in gone:
            print(f"{one.path.name}: is in use and was left")
    return 0
