"""A grid: every combination of the values given, each in a worker of its own; one that fails does not end the others."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from thrifty.config import registry
from thrifty.config.compose import compose
from thrifty.config.overrides import parse
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration
from thrifty.execution import fork_server
from thrifty.execution.experiment import run_experiment
from thrifty.execution.launch import Outcome
from thrifty.execution.ranks import launched_by
from thrifty.stop import STOPPED
from thrifty.store import SHARED, utc_stamp


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """The overrides of each experiment, the last key's values changing fastest, as Hydra users expect.

    Raises:
        BadConfiguration: a range over a continuous interval, which a grid cannot walk.
    """
    values = []
    for override in parse(arguments):
        if not override.is_sweep_override():
            values.append([override.input_line or ""])
        elif override.is_discrete_sweep():
            values.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            raise BadConfiguration(
                f"{override.input_line}: a grid needs values to walk through; give choice(...) or range(...)"
            )
    return [list(one) for one in itertools.product(*values)]


def shared_modules(configs: Sequence[Config]) -> list[str]:
    """The code of the task, where all experiments have the same: imported once for all, it costs each half a second less.

    What one experiment alone needs stays out, or it would be counted into the others' memory.
    """
    names = {one.task.name for one in configs}
    module = registry.CHOICES["task"][names.pop()].module if len(names) == 1 else None
    return [] if module is None else [module]


@dataclass(frozen=True)
class GridResult:
    """What became of a grid."""

    directory: Path
    outcomes: list[Outcome]
    """Of the experiments that were started, in the order of the grid."""
    size: int
    """Experiments in the grid."""

    @property
    def exit_code(self) -> int:
        """The first exit code that is not 0, or 0."""
        return next((outcome.exit_code for outcome in self.outcomes if outcome.exit_code), 0)


def run_grid(arguments: Sequence[str], console: Console) -> GridResult:
    """Run every experiment of a grid, one after the other, telling of each on the console.

    Every combination is composed before the first starts, so that a wrong value costs nothing. A stop ends the grid.
    """
    grid = expand(arguments)
    configs = [compose(overrides) for overrides in grid]
    if any(one.resume is not None for one in configs):
        raise BadConfiguration("resume goes with one run at a time: leave -m out")
    if (launcher := launched_by()) is not None:
        raise BadConfiguration(
            f"-m: {launcher} has started this command several times; start a grid once, and every run of it starts its own devices"
        )
    from thrifty.instrument.waterfall import fill  # now that nothing is refused any more: it takes long to import

    fork_server.warm_up(before=shared_modules(configs))
    name = f"{utc_stamp()}-grid"
    result = GridResult(Path(configs[0].store) / "sweeps" / name, [], len(grid))
    with _shared(Path(configs[0].store) / SHARED / name):
        for number, (overrides, config) in enumerate(zip(grid, configs, strict=True), 1):
            console.print(f"[bold]{number}/{len(grid)}[/]  {' '.join(overrides)}", highlight=False)
            outcome = run_experiment(config, overrides, result.directory, console, group=name, complete=fill)
            result.outcomes.append(outcome)
            if outcome.message is not None:
                console.print(f"  refused: {outcome.message}", style="red", markup=False, highlight=False)
            if outcome.exit_code in STOPPED:
                break
    return result


@contextlib.contextmanager
def _shared(shared: Path) -> Iterator[None]:
    """Room for what the runs of a grid may take from each other; nothing is left of it."""
    made = [one for one in shared.parents if not one.exists()]
    with contextlib.suppress(OSError):  # a store that cannot be written is the first run's to tell
        shared.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(shared, ignore_errors=True)
        for one in made:
            with contextlib.suppress(OSError):  # it holds something
                one.rmdir()
