"""Which executor a sweep's settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from thrifty.config import registry
from thrifty.config.schema import Config
from thrifty.config.sweep import Sweep, Where
from thrifty.sweeps.executor import Executor
from thrifty.sweeps.local import LocalSlots, shares

_LARGEST_ARRAY = 1000
"""Jobs that SLURM takes in one array, unless a cluster says otherwise (MaxArraySize)."""


def executor_of(settings: Sweep, configs: Sequence[Config], place: Path) -> Executor:
    """What is to run these experiments, or others like them; nothing is started yet.

    Args:
        place: directory for what its jobs share, which need not be there yet.

    Raises:
        BadConfiguration: it cannot be had as asked for.
    """
    if settings.where is Where.slurm:
        from thrifty.sweeps.slurm import SlurmJobs

        for one in configs:
            settings.slurm.check_devices(one.devices)
        # All of a grid at once, as one array, of which array_parallelism run at a time.
        at_once = min(max(settings.parallel, len(configs)), _LARGEST_ARRAY)
        return SlurmJobs(settings.slurm, at_once, place.resolve() / "submitit")
    devices = {one.device.name for one in configs}
    device = devices.pop() if len(devices) == 1 else "auto"
    return LocalSlots(shares(settings.parallel, place.resolve() / "turns", device), _shared_modules(configs))


def _shared_modules(configs: Sequence[Config]) -> list[str]:
    """The code of the task, where all experiments have the same: imported once for all, it costs each half a second less.

    What one experiment alone needs stays out, or it would be counted into the others' memory.
    """
    names = {one.task.name for one in configs}
    module = registry.CHOICES["task"][names.pop()].module if len(names) == 1 else None
    return [] if module is None else [module]
