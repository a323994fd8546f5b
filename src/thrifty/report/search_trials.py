"""What a search has found: its trials, the best of them, and which keys mattered."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from thrifty.report.listing import comparison_table
from thrifty.report.numbers import metric_text
from thrifty.report.over_seeds import over_seeds, seeds_table
from thrifty.report.scaling import scaling_report
from thrifty.sweeps.power_law import scaling
from thrifty.sweeps.search import SearchResult
from thrifty.sweeps.study import Trial

_FAILURES = 5
"""Reasons shown."""


def search_trials(result: SearchResult, width: int) -> RenderableType:
    """The best first, then how the trials ended and what varied their objective.

    Args:
        width: columns of the terminal.
    """
    stopped = [one for one in result.trials if one.stopped]
    failed = [one for one in result.trials if one.values is None and not one.stopped]
    broken = [one for one in result.trials if one.values is not None and not one.feasible]
    parts: list[RenderableType] = []
    several = len(result.objectives) > 1
    if result.best:
        records = [result.records[one.run] for one in result.best if one.run in result.records]
        parts.append(Text(f"Pareto set ({len(result.best)})" if several else "Best", style="bold"))
        parts.append(_values(result, result.best))
        parts.append(comparison_table(records, width))
    else:
        parts.append(Text("no trial came to a value and kept every constraint", style="bold red"))
    if groups := over_seeds(list(result.records.values())):
        parts += [Text("\nover seeds: mean ± half of the 95% interval", style="dim"), seeds_table(groups)]
    metric = result.objectives[0].metric
    if (
        result.objectives[0].direction == "minimize"
        and (found := scaling(list(result.records.values()), metric.name)) is not None
    ):
        parts += scaling_report(found, metric.name)
    told = [f"{len(result.trials)} trials"]
    told += [f"{len(stopped)} stopped early"] if stopped else []
    told += [f"{len(broken)} broke a constraint"] if broken else []
    told += [f"{len(failed)} failed"] if failed else []
    parts.append(Text(f"\n{', '.join(told)}; in {result.directory}"))
    parts += [Text(f"  trial {one.number}: {one.reason}", style="dim") for one in failed[:_FAILURES]]
    if result.importances:
        parts.append(Text(f"What {result.objectives[0].metric.name} depends on, by Optuna's fANOVA", style="bold"))
        parts += [Text(f"  {key:<30}{100 * share:5.0f} %") for key, share in result.importances.items()]
    best = next((one for one in result.best if one.run in result.records), None)
    if best is not None and best.run is not None:
        parts.append(Text(f"\nagain   {result.records[best.run]['command']}", no_wrap=True, overflow="ignore"))
    return Group(*parts)


def _values(result: SearchResult, trials: list[Trial]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    for one in result.objectives:
        table.add_column(one.metric.name, justify="right")
    for trial in trials:
        record = result.records.get(trial.run or "")
        cells = [
            metric_text(one.metric.name, record["metrics"][one.metric.name]) if record else f"{value:.6g}"
            for one, value in zip(result.objectives, trial.values or (), strict=True)
        ]
        table.add_row(str(trial.number), *cells)
    return table
