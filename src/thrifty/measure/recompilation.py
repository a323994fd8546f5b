"""Whether something was compiled while we measured: a new shape, or anything else that compiled code had relied on."""

from __future__ import annotations

import sys


def graphs_compiled() -> int:
    """Graphs that torch.compile has made in this process so far; 0 where it was never imported, which this does not do."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else utils.counters["stats"]["unique_graphs"]
