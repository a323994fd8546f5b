"""A record written by hand, with a whole configuration."""

from __future__ import annotations

import copy
from typing import Any

from thrifty.config.compose import compose, plain
from thrifty.metrics import measured, missing
from thrifty.record import new_record

METRICS = {
    "quality/loss": measured(0.25, 0.2, 0.3, 114),
    "quality/accuracy": measured(0.9211, 0.8567, 0.9579, 114),
    "quality/gap": measured(0.0117),
    "validation/accuracy": measured(0.98, 0.94, 1.0, 114),
    "train/step_ms": measured(2.0, 1.9, 2.1, 106),
    "train/first_step_s": measured(0.011),
    "train/time_s": measured(0.2),
    "train/time_to_target_s": missing("no target was given; target=VALUE sets one"),
    "train/steps": measured(107),
    "train/peak_host_mib": measured(415.8),
    "infer/latency_ms": measured(0.0587, 0.0579, 0.0597, 1000),
    "size/parameters": measured(14338),
    "size/file_mib": measured(0.05527),
}


def make_record(*overrides: str, metrics: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A finished run of the built-in table; overrides configure it, `metrics` and other fields replace its own."""
    given = ["task=tabular", *overrides]
    config = compose(given)
    record = new_record(plain(config), given, "token")
    record |= {"id": "20260102T030405678Z-tabular-mlp-nano-train-0123456789ab", "status": "ok"}
    record["environment"]["device"] = "cpu"
    record["environment"]["cpu"] = {"name": "a processor", "isa": []}
    examples = {"train": 341, "validation": 114, "test": 114}
    batch_size = examples["train"] if config.batch_size == "full" else config.batch_size
    record["data"] = {"deciding": "accuracy", "examples": examples, "about": [], "batch_size": batch_size}
    record["metrics"] = {**copy.deepcopy(METRICS), **(metrics or {})}
    return record | fields
