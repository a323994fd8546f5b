"""Hydra's door to our sweeps: `-m` comes in here. Nothing heavy is imported until a sweep starts."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# A plain mapping: Hydra loads plugins outside sys.modules, where a dataclass cannot look up its own annotations.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="thrifty",
    node={"_target_": "hydra_plugins.thrifty_sweeper.ThriftySweeper", "max_batch_size": None, "params": None},
    provider="thrifty",
)


class ThriftySweeper(BasicSweeper):
    """Expands a grid and runs it in isolated workers; one that fails does not end the others.

    Of a program that is not ours it launches the jobs as Hydra's own sweeper does: an installed plugin must not be in anybody's way.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `sweep`; our workers compose for themselves and need none of it."""
        self._ours = task_function.__module__ == "thrifty.config.hydra_main"
        if not self._ours:
            super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run every experiment of the grid; returns what became of it."""
        if not self._ours:
            return super().sweep(arguments)
        from rich.console import Console

        from thrifty.report.sweep_view import sweep_view
        from thrifty.sweeps.grid import run_grid

        return run_grid(arguments, sweep_view(Console(stderr=True)))
