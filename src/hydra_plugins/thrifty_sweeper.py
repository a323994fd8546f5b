"""Hydra's door to our sweeps: `-m` comes in here. Nothing heavy is imported until a sweep starts."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# A plain mapping: Hydra loads plugins outside sys.modules, where a dataclass cannot look up its own annotations.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="thrifty",
    node={"_target_": "hydra_plugins.thrifty_sweeper.ThriftySweeper"},
    provider="thrifty",
)


class ThriftySweeper(Sweeper):
    """Expands a grid and runs it in isolated workers; one that fails does not end the others."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `sweep`; our workers compose for themselves and need none of it."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run every experiment of the grid; returns what became of it."""
        from rich.console import Console

        from thrifty.sweeps.grid import run_grid

        return run_grid(arguments, Console(stderr=True))
