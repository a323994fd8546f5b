"""Schema of `measure`: which measurements a run makes after training, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass

from thrifty.config.key import BY_ARCHITECTURE_AND_MODEL, key


@dataclass(kw_only=True)
class Measure:
    """Which measurements a run makes after training, and how long each may take."""

    name: str
    seconds: float = key("time for each speed measurement; 0 makes none", unit="s", at_least=0)
    processes: int = key(
        "fresh processes that load the model for load time, first call and memory, some 2 s each; 0 makes none",
        at_least=0,
        at_most=100,
    )
    batch_sizes: list[int] = key("further batch sizes to measure latency and rate of prediction at", at_least=1)
    examples: int | None = key(
        "most test examples to evaluate", at_least=1, null=f"{BY_ARCHITECTURE_AND_MODEL}; all for measure=full"
    )
