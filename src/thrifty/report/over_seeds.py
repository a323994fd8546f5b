"""Runs that differ in nothing but their seed, told as one: the mean over seeds, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from thrifty.record import config_hash
from thrifty.report.listing import differing, quality_heading, written_at
from thrifty.report.numbers import metric_text

if TYPE_CHECKING:
    from thrifty.measure.statistics import Interval

_COLUMNS = {"train/time_s": "training", "infer/latency_ms": "latency"}


@dataclass(frozen=True)
class OverSeeds:
    """Runs of one configuration but for the seed."""

    records: list[dict[str, Any]]

    def mean(self, name: str) -> Interval | None:
        """Mean of a metric and its 95% interval by Student's t over the seeds, each counting once; None of fewer than two values."""
        import numpy as np

        from thrifty.measure.statistics import mean_interval  # half a second, where there is something to tell

        by_seed: dict[int, list[float]] = {}
        for record in self.records:
            entry = record["metrics"].get(name)
            if entry is not None and entry["value"] is not None:
                by_seed.setdefault(record["seed"], []).append(entry["value"])
        return mean_interval(np.array([np.mean(one) for one in by_seed.values()])) if len(by_seed) > 1 else None


def over_seeds(records: Sequence[dict[str, Any]]) -> list[OverSeeds]:
    """The records that ended well, grouped by all of their configuration but the seed; none where no two differ in it only."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["status"] == "ok":
            groups.setdefault(config_hash({key: one for key, one in record["config"].items() if key != "seed"}), []).append(
                record
            )
    found = [OverSeeds(one) for one in groups.values()]
    return found if any(len({record["seed"] for record in one.records}) > 1 for one in found) else []


def seeds_table(groups: Sequence[OverSeeds]) -> Table:
    """A line for each group: what sets it apart, and mean ± half of the interval of its quality and costs."""
    firsts = [one.records[0] for one in groups]
    keys = [key for key in differing(firsts) if key != "seed"]
    quality = {f"quality/{one['data'].get('deciding')}" for one in firsts}
    metrics = ({name: quality_heading(firsts) for name in quality} if len(quality) == 1 else {}) | _COLUMNS
    table = Table(box=None, pad_edge=False, header_style="dim")
    for key in keys:
        table.add_column(key, no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for heading in metrics.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        first = group.records[0]
        seeds = len({record["seed"] for record in group.records})
        table.add_row(*(written_at(first, key) for key in keys), str(seeds), *(_cell(name, group) for name in metrics))
    return table


def _cell(name: str, group: OverSeeds) -> str:
    mean = group.mean(name)
    if mean is None:
        return metric_text(name, group.records[0]["metrics"].get(name))
    if mean.low is None or mean.high is None:
        return metric_text(name, {"value": mean.value})
    half = metric_text(name, {"value": (mean.high - mean.low) / 2})
    return f"{metric_text(name, {'value': mean.value})} ± {half}"
