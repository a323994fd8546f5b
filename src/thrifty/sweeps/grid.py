"""A grid: every combination of the values given, each in a worker of its own; one that fails does not end the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from thrifty.config.compose import compose
from thrifty.config.space import space_of
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import BadConfiguration
from thrifty.execution import fork_server
from thrifty.execution.launch import Outcome
from thrifty.stop import STOPPED
from thrifty.store import SHARED, utc_stamp
from thrifty.sweeps.experiments import Experiments, check_one_command, held, shared, shared_modules, sweep_directory


@dataclass(frozen=True)
class GridResult:
    """What became of a grid."""

    directory: Path
    outcomes: list[Outcome]
    """Of the experiments that were started or found, in the order of the grid."""
    size: int
    """Experiments in the grid."""

    @property
    def exit_code(self) -> int:
        """The first exit code that is not 0, or 0."""
        return next((outcome.exit_code for outcome in self.outcomes if outcome.exit_code), 0)


def run_grid(arguments: Sequence[str], console: Console) -> GridResult:
    """Run every experiment of a grid, one after the other, telling of each on the console.

    Every combination is composed before the first starts, so that a wrong value costs nothing. A stop ends the grid; `sweep.resume` goes
    on with it.
    """
    asked = sweep_of(arguments)
    if asked.name is not None:
        raise BadConfiguration(f"sweeps={asked.name}: is a search, not a grid")
    for key in ("objectives", "constraints", "n_trials", "seconds", "storage"):
        if getattr(asked.settings, key):
            raise BadConfiguration(f"sweep.{key}: goes with a search, sweeps=NAME; a grid runs all of its experiments")
    grid = space_of(asked.overrides).grid()
    configs = [compose(overrides) for overrides in grid]
    check_one_command(configs)
    store = Path(configs[0].store)
    resumed = None if asked.settings.resume is None else sweep_directory(store, asked.settings.resume)
    name = f"{utc_stamp()}-grid" if resumed is None else resumed.name
    from thrifty.instrument.optimize import search
    from thrifty.instrument.waterfall import fill  # now that nothing is refused any more: it takes long to import

    fork_server.warm_up(before=shared_modules(configs))
    result = GridResult(resumed or store / "sweeps" / name, [], len(grid))
    experiments = Experiments(result.directory, name, console, fill, search)
    with held(result.directory), shared(store / SHARED / name):
        for number, (overrides, config) in enumerate(zip(grid, configs, strict=True), 1):
            console.print(f"[bold]{number}/{len(grid)}[/]  {' '.join(overrides)}", highlight=False)
            outcome = experiments.finished(config)
            if outcome is not None:
                console.print(f"  finished before: {outcome.path}", markup=False, highlight=False)
            else:
                outcome = experiments.run(config, overrides)
            result.outcomes.append(outcome)
            if outcome.message is not None:
                console.print(f"  refused: {outcome.message}", style="red", markup=False, highlight=False)
            if outcome.exit_code in STOPPED:
                break
    return result
