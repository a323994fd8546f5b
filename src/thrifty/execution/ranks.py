"""The processes that train one model together: how many, which of them this command starts, where they meet. Imports no torch."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thrifty.errors import BadConfiguration


@dataclass(frozen=True)
class Rank:
    """One of them."""

    number: int = 0
    of: int = 1
    local: int = 0
    """Its number among those of its machine: the device it takes."""
    on_machine: int = 1
    """How many share the machine, and its cores."""
    meeting: str = ""
    """Where they find each other, as torch.distributed's `init_method`; a launcher's own place where it is empty."""

    @property
    def leads(self) -> bool:
        """Whether it is the one that validates, measures and writes the record."""
        return self.number == 0


def ranks_to_start(devices: int, environment: Mapping[str, str] = os.environ) -> list[Rank]:
    """The ranks that this command line starts: all of them, or its own where a launcher has started one command line a rank.

    Launchers are torchrun, and SLURM's srun with more tasks than one.

    Raises:
        BadConfiguration: the launcher has started another number than were asked for.
    """
    launched = _torchrun(environment) or (_slurm(environment) if devices > 1 else None)
    if launched is None:
        # A file: no port that another run could have taken. Whoever starts the ranks makes its directory, and removes it.
        meeting = Path(tempfile.gettempdir(), f"thrifty-ranks-{secrets.token_hex(8)}", "meeting")
        return [Rank(one, devices, one, devices, meeting.as_uri() if devices > 1 else "") for one in range(devices)]
    name, rank = launched
    if rank.of != devices:
        raise BadConfiguration(
            f"devices={devices}: {name} has started {rank.of} processes; give devices={rank.of}, or start {devices}"
        )
    return [rank]


def launched_by(environment: Mapping[str, str] = os.environ) -> str | None:
    """The launcher that has started several of this command to be ranks of one training; None where none has."""
    launched = _torchrun(environment)
    return None if launched is None else launched[0]


def _torchrun(environment: Mapping[str, str]) -> tuple[str, Rank] | None:
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    number, of, local, here = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    return "torchrun", Rank(number, of, local, here)


def _slurm(environment: Mapping[str, str]) -> tuple[str, Rank] | None:
    """A task of a job step; a batch script itself is none, and starts its ranks like any shell."""
    if "SLURM_STEP_ID" not in environment or int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return None
    number, of, local = (int(environment[name]) for name in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"))
    per_node = environment.get("SLURM_STEP_TASKS_PER_NODE", str(of))  # "2(x3),1"
    return "srun", Rank(number, of, local, int(per_node.split("(")[0].split(",")[0]))
