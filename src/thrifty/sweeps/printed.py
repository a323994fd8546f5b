"""A grid as commands for other engines: one for each experiment, that may be given again and runs nothing twice."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thrifty.config.compose import compose
from thrifty.config.schema import Config
from thrifty.config.slurm import Slurm
from thrifty.config.space import space_of
from thrifty.config.sweep import Print
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import BadConfiguration
from thrifty.store import utc_stamp
from thrifty.sweeps.directory import check_one_command, sweep_directory

_FLAGS = {"timeout_min": "time", "tasks_per_node": "ntasks-per-node", "name": "job-name"}
"""sbatch's own names, where submitit has others."""
_NOT_SBATCH_S = (
    "mem_gb",
    "stderr_to_stdout",
    "signal_delay_s",
    "array_parallelism",
    "additional_parameters",
    "srun_args",
    "setup",
)


def printed(arguments: Sequence[str]) -> list[str]:
    """The lines, in the order of the grid; nothing is run, and nothing written.

    Raises:
        BadConfiguration: a value that is not allowed, or a search, whose trials depend on those before.
    """
    asked = sweep_of(arguments)
    settings = asked.settings
    assert settings.print is not None
    given = f"sweep.print={settings.print.name}"
    if asked.name is not None:
        raise BadConfiguration(
            f"{given}: prints grids; a search proposes each trial by those before, so start it once for each machine, with sweep.storage"
        )
    grid = space_of(asked.overrides).grid()
    configs = [compose(overrides) for overrides in grid]
    check_one_command(configs)
    store = Path(configs[0].store)
    new = store / "sweeps" / f"{utc_stamp()}-grid"
    directory = new if settings.resume is None else sweep_directory(store, settings.resume)
    lines = []
    for overrides, config in zip(grid, configs, strict=True):
        words = [*overrides, f"sweep.into={directory}"]
        lines.append(_torchrun(words, config) if settings.print is Print.torchrun else _sbatch(words, config, settings.slurm))
    return lines


def _torchrun(words: list[str], config: Config) -> str:
    program = ["run.py"] if _has_a_script() else ["-m", "thrifty", "run"]
    return shlex.join(["torchrun", "--standalone", f"--nproc-per-node={config.devices}", *program, *words])


def _sbatch(words: list[str], config: Config, settings: Slurm) -> str:
    settings.check_devices(config.devices)
    program = ["python", "run.py"] if _has_a_script() else ["thrifty", "run"]
    given = settings.parameters()
    flags = {_FLAGS.get(name, name.replace("_", "-")): value for name, value in given.items() if name not in _NOT_SBATCH_S}
    if settings.mem_gb is not None:
        flags["mem"] = f"{settings.mem_gb * 1024:.0f}M"
    flags["signal"] = f"USR2@{settings.signal_delay_s}"  # a run saves and ends
    flags["open-mode"] = "append"
    flags |= settings.additional_parameters
    # srun hands the signal on; in the batch shell itself it would be lost.
    command = shlex.join(["srun", *(settings.srun_args or []), *program, *words])
    return shlex.join(
        [
            "sbatch",
            *(_flag(name, value) for name, value in flags.items()),
            "--wrap",
            "; ".join([*(settings.setup or []), command]),
        ]
    )


def _flag(name: str, value: Any) -> str:
    return f"--{name}" if value is True else f"--{name}={value}"


def _has_a_script() -> bool:
    """Whether we are used from the source tree, where people type `python run.py`."""
    return Path("run.py").is_file()
