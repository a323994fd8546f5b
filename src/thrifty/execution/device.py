"""Which device a run computes on, and whether it can."""

from __future__ import annotations

import torch

from thrifty.config import registry
from thrifty.config.schema import Config
from thrifty.errors import Unsupported


def available_devices() -> list[str]:
    """Kinds of device this process can use, best first."""
    found = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def choose_device(config: Config) -> torch.device:
    """The device a configuration asks for.

    Raises:
        Unsupported: it is not here, or cannot run the precision or the engine asked for.
    """
    available = available_devices()
    wanted = config.device.name
    if wanted == "auto":
        wanted = available[0]
    elif wanted not in available:
        reason = "this build of torch has no CUDA" if wanted == "cuda" and torch.version.cuda is None else "torch finds none"
        raise Unsupported(f"device={wanted}: is not usable here ({reason}); choose one of {', '.join(available)}, or auto")
    for group in ("precision", "engine"):
        choice = getattr(config, group)
        reason = registry.load(group, choice.name)(choice).unsupported(wanted)
        if reason is not None:
            raise Unsupported(reason)
    return torch.device(wanted)


def describe_device(device: torch.device) -> dict[str, str | None]:
    """What the record says of the accelerator."""
    if device.type != "cuda":
        return {"device": device.type, "gpu": None, "driver": None}
    return {"device": "cuda", "gpu": torch.cuda.get_device_name(device), "driver": f"CUDA {torch.version.cuda}"}
