"""What torch's compiler was told, where this process has it, and what it found in its cache; the record holds it."""

from __future__ import annotations

import os
import sys
from typing import Any

_SETTINGS = (
    "freezing",
    "max_autotune",
    "compile_threads",
    "cpp.threads",
    "cpp.dynamic_threads",
    "cpp.simdlen",
    "cpp.weight_prepack",
)


def in_force() -> dict[str, Any]:
    """Nothing where inductor was never imported: asking does not import it."""
    config, counters = sys.modules.get("torch._inductor.config"), sys.modules.get("torch._dynamo.utils")
    if config is None or counters is None:
        return {}
    cache = counters.counters["inductor"]
    return {
        "inductor": {
            **{name: _value(config, name) for name in _SETTINGS},
            "cxx": os.environ.get("CXX"),
            "cache": os.environ.get("TORCHINDUCTOR_CACHE_DIR"),
            "graphs_from_cache": cache["fxgraph_cache_hit"],
            "graphs_compiled": cache["fxgraph_cache_miss"],
        }
    }


def _value(config: Any, name: str) -> Any:
    """None where this version of torch has no such setting."""
    for part in name.split("."):
        config = getattr(config, part, None)
    return config if isinstance(config, (bool, int, float, str, type(None))) else str(config)
