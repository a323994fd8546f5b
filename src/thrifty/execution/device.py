"""Which device a run computes on, and whether it can."""

from __future__ import annotations

import torch

from thrifty.config import registry
from thrifty.config.schema import Config
from thrifty.errors import Unsupported
from thrifty.execution.ranks import Rank
from thrifty.record import usable_cores

_NO_CUDA = "this build of torch has no CUDA"


def available_devices() -> list[str]:
    """Kinds of device this process can use, best first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def choose_device(config: Config, rank: Rank | None = None) -> torch.device:
    """The device a configuration asks for; of several ranks this one's own.

    Raises:
        Unsupported: it is not here, not in that number, or cannot run the precision or the engine asked for.
    """
    available = available_devices()
    wanted = config.device.name
    if wanted == "auto":
        wanted = available[0]
    elif wanted not in available:
        reason = _NO_CUDA if wanted == "cuda" and torch.version.cuda is None else "torch finds none"
        raise Unsupported(f"device={wanted}: is not usable here ({reason}); choose one of {', '.join(available)}, or auto")
    for group in ("precision", "engine"):
        choice = getattr(config, group)
        reason = registry.load(group, choice.name)(choice).unsupported(wanted)
        if reason is not None:
            raise Unsupported(reason)
    engine = registry.load("engine", config.engine.name)(config.engine)
    if (reason := engine.not_in(config.precision.name)) is not None:
        raise Unsupported(reason)
    if rank is None or rank.of == 1:
        return torch.device(wanted)
    there = {"cuda": torch.cuda.device_count(), "cpu": usable_cores()}.get(wanted, 1)
    if rank.on_machine > there:
        what = {"cuda": "CUDA device", "cpu": "core that we may use"}.get(wanted, f"device of kind {wanted}")
        raise Unsupported(
            f"devices={config.devices}: this machine has {there} {what}{'' if there == 1 else 's'} for {rank.on_machine} processes; "
            f"give devices={there}"
        )
    if wanted != "cuda":
        return torch.device(wanted)
    torch.cuda.set_device(rank.local)
    return torch.device("cuda", rank.local)


def why_this_device(config: Config, device: torch.device) -> str | None:
    """A sentence on what device=auto chose; None where a device was asked for."""
    if config.device.name != "auto":
        return None
    if device.type == "cpu":
        return f"device=auto took the CPU: {_NO_CUDA if torch.version.cuda is None else 'torch finds no GPU'}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the Mac's GPU"
    return f"device=auto took {device.type}, {name}: a GPU comes before the CPU"


def describe_device(device: torch.device) -> dict[str, str | None]:
    """What the record says of the accelerator."""
    if device.type != "cuda":
        return {"device": device.type, "gpu": None, "driver": None}
    return {"device": "cuda", "gpu": torch.cuda.get_device_name(device), "driver": f"CUDA {torch.version.cuda}"}
