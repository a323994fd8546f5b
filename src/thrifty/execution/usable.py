"""Which devices can compute here, and which precisions on each, with the reason where one cannot."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from thrifty.config import registry
from thrifty.config.compose import compose
from thrifty.config.registry import CHOICES
from thrifty.execution.device import available_devices


@dataclass(frozen=True)
class UsableDevice:
    """A kind of device that `device=NAME` can name."""

    name: str
    what: str | None
    """Its name by its maker; None for the processor, and where there is none."""
    reason: str | None
    """Why it is not usable; None where it is."""
    precisions: dict[str, str | None]
    """Of each precision why not; None where it is usable."""


def usable_devices() -> list[UsableDevice]:
    """cuda, mps and cpu, in the order `auto` takes them."""
    available = available_devices()
    precisions = {
        name: registry.load("precision", name)(compose([f"precision={name}"]).precision) for name in CHOICES["precision"]
    }
    found = []
    for name in ("cuda", "mps", "cpu"):
        if name not in available:
            found.append(UsableDevice(name, None, why_not(name), {}))
            continue
        what = torch.cuda.get_device_name() if name == "cuda" else None
        reasons = {key: short_reason(one.unsupported(name), key) for key, one in precisions.items()}
        found.append(UsableDevice(name, what, None, reasons))
    return found


def usable_engines(device: str) -> dict[str, str | None]:
    """Of each engine why it cannot run on a device; None where it can."""
    engines = {name: registry.load("engine", name)(compose([f"engine={name}"]).engine) for name in CHOICES["engine"]}
    return {name: _short(one.unsupported(device), f"engine={name}") for name, one in engines.items()}


def why_not(name: str) -> str:
    """What keeps a kind of device from being usable."""
    if name == "cuda":
        return "this build of torch has no CUDA" if torch.version.cuda is None else "torch finds no GPU, or no driver for it"
    if not torch.backends.mps.is_built():
        return "this build of torch has no Metal"
    return "needs macOS 12.3 or newer and a Mac with Metal"


def short_reason(message: str | None, precision: str) -> str | None:
    """A precision's refusal without the `precision=NAME: ` it begins with."""
    return _short(message, f"precision={precision}")


def _short(message: str | None, choice: str) -> str | None:
    return None if message is None else message.removeprefix(f"{choice}: ")
