"""What a logger hears at the end of a sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thrifty.config import registry
from thrifty.config.choices.loggers import Logger
from thrifty.errors import ThriftyError
from thrifty.events import SweepEnded
from thrifty.execution.experiment import Guarded


def tell_logger(
    logger: Logger,
    directory: Path,
    what: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
    found: Mapping[str, float] | None = None,
) -> None:
    """Tell it what came of all runs; one that cannot take it is told in a line, and costs nothing else.

    Args:
        what: was looked for.
        found: by a search.
    """
    if not records:
        return
    try:
        sink = Guarded(registry.load("logger", logger.name)(logger, directory.name))
    except ThriftyError:  # every run has told why
        return
    ended = Counter(one["status"] for one in records)
    summary = {
        "runs": float(len(records)),
        **{f"runs/{status}": float(count) for status, count in ended.items()},
        **(found or {}),
    }
    sink.handle(SweepEnded(str(directory), directory.name, dict(what), summary, rows_of(records)))
    sink.close()


def rows_of(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each record who it is, how it ended, what was asked for, and every metric that any of them has a value of."""
    metrics = sorted({name for record in records for name, one in record["metrics"].items() if one["value"] is not None})
    return [
        {
            "id": record["id"],
            "status": record["status"],
            "overrides": " ".join(record["overrides"]),
            "seed": record["seed"],
            **{name: record["metrics"].get(name, {"value": None})["value"] for name in metrics},
        }
        for record in records
    ]
