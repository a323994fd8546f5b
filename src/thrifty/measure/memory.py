"""Memory of this process and of its accelerator, in MiB (2^20 bytes).

Only what this process holds: shared pages count where they are mapped, memory of other processes never. torch is imported where an
accelerator is asked for, so that a process without it can tell of itself.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CLEAR_REFERENCES = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"
"""What `clear_refs` takes to set VmHWM back to the present resident size. Source: Linux, proc(5)."""
KIB_PER_MIB = 1024


@dataclass(frozen=True)
class HostMemory:
    """Resident memory of this process by kind, in MiB."""

    anonymous_mib: float
    """Written by the process itself: weights, activations, Python's objects."""
    file_mib: float
    """Mapped from files, such as libraries and weights read by mmap; the kernel may drop it and read it again."""


class PeakHostMemory:
    """The highest resident memory of this process between `with` and its end.

    Does not nest: the kernel keeps one peak per process, and entering resets it.
    """

    peak_mib: float | None = None
    """Known after the end; None where the system tells nothing."""
    before_mib: float | None = None
    """Resident memory at the start; None where only the peak is known."""
    reason: str | None = None
    """Why `peak_mib` is missing or not what it says; None where all is well."""

    def __enter__(self) -> PeakHostMemory:
        try:
            CLEAR_REFERENCES.write_text(RESET_PEAK)
            self.before_mib = _status_mib("VmRSS")
            _status_mib("VmHWM")
        except (OSError, KeyError) as error:
            why = error.strerror if isinstance(error, OSError) else f"no {error.args[0]} in {STATUS}"
            self.reason = f"peak since the process began: it cannot be reset here ({why})"
        return self

    def __exit__(self, *exception: object) -> None:
        if self.reason is None:
            self.peak_mib = _status_mib("VmHWM")
            return
        self.peak_mib = _lifetime_peak_mib()
        if self.peak_mib is None:
            self.reason = "this system does not tell the peak memory of a process"


def host_memory() -> HostMemory | None:
    """Resident memory now; None where the system does not tell it apart (not Linux)."""
    try:
        return HostMemory(_status_mib("RssAnon"), _status_mib("RssFile") + _status_mib("RssShmem"))
    except (OSError, KeyError):
        return None


def peak_device_mib(device: torch.device) -> float | None:
    """Highest memory in tensors on a CUDA device since `reset_peak_device`; None on other devices.

    What the allocator holds in reserve and what the driver takes for itself come on top.
    """
    if device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / 2**20


def reset_peak_device(device: torch.device) -> None:
    """Start the peak of `peak_device_mib` anew, from what is allocated now."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def device_memory(device: torch.device) -> dict[str, float | None] | None:
    """Memory of a CUDA device in MiB: tensors and the allocator's reserve at their peak since `reset_peak_device`, and this
    process's as the driver counts it now (None where NVML or its module is not to be had); None on other devices.
    """
    if device.type != "cuda":
        return None
    import torch

    return {
        "allocated_mib": torch.cuda.max_memory_allocated(device) / 2**20,
        "reserved_mib": torch.cuda.max_memory_reserved(device) / 2**20,
        "process_mib": _driver_mib(device),
    }


def _driver_mib(device: torch.device) -> float | None:
    try:
        import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    import torch

    try:
        pynvml.nvmlInit()
        # Numbers of devices differ from NVML's where only some are visible: the identity does not.
        identity = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByUUID(identity))
    except (pynvml.NVMLError, AttributeError):  # no such library, no right to it, or a torch without identities
        return None
    # In a container the driver may know us by another number, or tell nothing: then so do we.
    found = next((one.usedGpuMemory for one in processes if one.pid == os.getpid()), None)
    return None if found is None else found / 2**20


def _status_mib(field: str) -> float:
    """A field of /proc/self/status.

    Raises:
        OSError: no /proc.
        KeyError: no such field.
    """
    for line in STATUS.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) / KIB_PER_MIB  # "123 kB", which are KiB
    raise KeyError(field)


def _lifetime_peak_mib() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else KIB_PER_MIB)  # bytes on macOS, KiB elsewhere
