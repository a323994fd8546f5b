"""What can be read of the machine's state now; what to make of it stands in `troubles`."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from thrifty.execution import fork_server
from thrifty.execution.machine import Machine
from thrifty.execution.proc_stat import look_at_load

_MEMINFO = Path("/proc/meminfo")
_CPUS = Path("/sys/devices/system/cpu")
_SUPPLIES = Path("/sys/class/power_supply")
_ZONES = Path("/sys/class/thermal")
_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Reading:
    """None is what this system does not tell, or what it has none of."""

    others_cores: float | None
    """Cores kept busy by other processes."""
    busiest: tuple[str, ...]
    """Those of them that can be named: `python3 (71) 0.96`, in cores."""
    stolen_share: float | None
    """Of the cores' time, what the host of a virtual machine took."""
    cores_usable: int
    quota_cores: float | None
    """What a control group allows."""
    powersave_cores: int | None
    """Cores whose governor is `powersave`."""
    throttled: str | None
    """What says that heat slows the processor."""
    on_battery: bool | None
    swap_used_mib: float | None
    memory_free_mib: float | None
    """Of the machine, or of the control group where that has less."""
    memory_limited: bool
    """Whether it is the control group that has less."""
    shared_memory_free_mib: float | None
    temporary_directory: str | None
    temporary_free_mib: float | None
    store_free_mib: float | None
    fork_server_known: bool
    """Whether this system has fork servers at all."""
    fork_server_fits: bool
    """Whether its socket's name fits the temporary directory's."""


def read_state(machine: Machine, seconds: float = 0.5) -> Reading:
    """The state now; takes the `seconds` for which the load is watched, asleep."""
    hot = throttle_counts()
    load = look_at_load(seconds)
    memory = parse_meminfo(_text(_MEMINFO) or "")
    available, limited = free_memory_mib(memory.get("MemAvailable"), machine.limits.memory_mib, machine.limits.memory_used_mib)
    swap = None if "SwapTotal" not in memory else memory["SwapTotal"] - memory.get("SwapFree", 0.0)
    temporary = temporary_directory()
    return Reading(
        others_cores=None if load is None else load.others_cores,
        busiest=() if load is None else load.busiest,
        stolen_share=None if load is None else load.stolen_share,
        cores_usable=machine.cores_usable,
        quota_cores=machine.limits.cores,
        powersave_cores=powersave_cores(),
        throttled=throttled_since(hot) or zone_at_its_limit(),
        on_battery=on_battery(),
        swap_used_mib=swap,
        memory_free_mib=available,
        memory_limited=limited,
        shared_memory_free_mib=_free_mib(_SHARED_MEMORY),
        temporary_directory=temporary,
        temporary_free_mib=None if temporary is None else _free_mib(Path(temporary)),
        store_free_mib=machine.disk_free_mib,
        fork_server_known="forkserver" in multiprocessing.get_all_start_methods(),
        fork_server_fits=temporary is not None and fork_server.fits(),
    )


def parse_meminfo(text: str) -> dict[str, float]:
    """The sizes of /proc/meminfo (`MemAvailable:  123 kB`, which are KiB) in MiB."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1] == "kB":
            found[name] = int(fields[0]) / 1024
    return found


def available_mib() -> float | None:
    """Memory that the machine has to give, in MiB; None where that is not told."""
    return parse_meminfo(_text(_MEMINFO) or "").get("MemAvailable")


def free_memory_mib(available: float | None, limit: float | None, used: float | None) -> tuple[float | None, bool]:
    """What there is to have, and whether it is a control group's limit that says so."""
    left = None if limit is None or used is None else max(0.0, limit - used)
    if left is not None and (available is None or left < available):
        return left, True
    return available, False


def powersave_cores(cpus: Path = _CPUS) -> int | None:
    """How many cores have the governor `powersave`; None where no governor is told, as in most virtual machines."""
    governors = [_text(one) for one in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")]
    return sum((one or "").strip() == "powersave" for one in governors) if governors else None


def throttle_counts(cpus: Path = _CPUS) -> dict[str, int]:
    """How often each core or package was slowed by heat since the start, where the processor tells."""
    found = {}
    for file in cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        text = (_text(file) or "").strip()
        if text.isdigit():
            found[str(file)] = int(text)
    return found


def throttled_since(before: dict[str, int], cpus: Path = _CPUS) -> str | None:
    """What rose since `before`; None where nothing did."""
    rose = sum(max(0, count - before.get(file, count)) for file, count in throttle_counts(cpus).items())
    return f"slowed {rose} times while we looked" if rose else None


def zone_at_its_limit(zones: Path = _ZONES) -> str | None:
    """The thermal zone that is as hot as its `passive` trip point, at which the kernel slows the processor."""
    for zone in sorted(zones.glob("thermal_zone[0-9]*")):
        temperature = _number(zone / "temp")
        for kind in sorted(zone.glob("trip_point_*_type")):
            limit = _number(kind.with_name(kind.name.replace("_type", "_temp")))
            if (_text(kind) or "").strip() != "passive" or temperature is None or limit is None or limit <= 0:
                continue
            if temperature >= limit:
                return (
                    f"{(_text(zone / 'type') or zone.name).strip()} at {temperature / 1000:.0f} of {limit / 1000:.0f} degrees"
                )
    return None


def on_battery(supplies: Path = _SUPPLIES) -> bool | None:
    """Whether a battery is being emptied; None where there is none."""
    batteries = [one for one in _children(supplies) if (_text(one / "type") or "").strip() == "Battery"]
    # A mouse has a battery too; its `scope` is Device.
    ours = [one for one in batteries if (_text(one / "scope") or "").strip() != "Device"]
    return any((_text(one / "status") or "").strip() == "Discharging" for one in ours) if ours else None


def temporary_directory() -> str | None:
    """Where temporary files go; None where no directory can be written."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return None


def _children(directory: Path) -> Iterable[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return ()


def _free_mib(directory: Path) -> float | None:
    try:
        return shutil.disk_usage(directory).free / 2**20 if directory.is_dir() and os.access(directory, os.W_OK) else None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    try:
        return int((_text(path) or "").strip())
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
