"""What NVIDIA's driver tells of a GPU, where its Python package is installed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SLOWDOWNS = {0x04: "power_cap", 0x08: "hardware", 0x20: "thermal", 0x40: "hardware_thermal", 0x80: "power_brake"}
"""Bits that say why the clock is below what it could be; idle clocks and those a user has set are no slowdown.
Source: nvml.h, nvmlClocksEventReasons."""


class NvmlUnavailable(Exception):
    """Says why the driver does not tell."""


@dataclass(frozen=True)
class NvmlDevice:
    """A GPU as the driver knows it."""

    library: Any
    handle: Any

    @classmethod
    def of(cls, device: torch.device) -> NvmlDevice:
        """The driver's handle of a CUDA device.

        Raises:
            NvmlUnavailable: no package, no driver, no right to it.
        """
        import torch

        try:
            library = importlib.import_module("pynvml")
        except ImportError as error:
            raise NvmlUnavailable("NVML's Python package is not installed: pip install nvidia-ml-py") from error
        try:
            library.nvmlInit()
            # Numbers of devices differ from NVML's where only some are visible: the identity does not.
            identity = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return cls(library, library.nvmlDeviceGetHandleByUUID(identity))
        except (library.NVMLError, AttributeError) as error:  # AttributeError: a torch without identities
            raise NvmlUnavailable(f"NVML does not know this GPU ({error})") from error

    def energy_mj(self) -> int:
        """Millijoules since the driver was loaded.

        Raises:
            NvmlUnavailable: this GPU has no such counter.
        """
        try:
            return int(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        except (self.library.NVMLError, AttributeError) as error:
            raise NvmlUnavailable(f"NVML does not tell this GPU's energy ({error})") from error

    def slowdowns(self) -> set[str] | None:
        """Why the clock is low at this moment; None where the driver does not tell."""
        try:
            reasons = int(self.library.nvmlDeviceGetCurrentClocksThrottleReasons(self.handle))
        except (self.library.NVMLError, AttributeError):
            return None
        return {name for bit, name in SLOWDOWNS.items() if reasons & bit}
