"""`thrifty doctor`: the machine, what is usable on it, what it can do at best, and what would spoil a measurement now."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from thrifty.config.registry import CHOICES
from thrifty.execution import libraries
from thrifty.execution.extras import Extra, extras
from thrifty.execution.machine import MEMORY_FILE_SYSTEMS, Machine, describe_machine
from thrifty.execution.readings import Reading, read_state, throttle_counts, throttled_since
from thrifty.execution.troubles import Trouble, troubles
from thrifty.metrics import measured, missing

if TYPE_CHECKING:
    import torch

    from thrifty.execution.usable import UsableDevice
    from thrifty.measure.statistics import Interval

Found = TypeVar("Found")
LONGEST_S = 30.0
"""Ceilings that would begin later than this after the first are left out."""
_ARRAY_MIB = (64, 512)
"""Least and most of an array whose copying shows the memory's bandwidth."""
_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp8": "float8_e4m3fn", "int8": "int8"}
_ON_GPUS = {"fp8"}
"""What other devices have no arithmetic for, and would be emulated."""
TOO_LATE = "the time for ceilings was used up before"
FAILURES = (RuntimeError, OSError, MemoryError, ValueError, TypeError, AttributeError)
"""What torch raises where a device or a build cannot do an operation."""


@dataclass(frozen=True)
class Ceiling:
    """One thing a device was seen to do at best."""

    name: str
    device: str
    unit: str
    entry: dict[str, Any]
    """As in a record: the value, or null and the reason."""
    note: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All that `thrifty doctor` tells."""

    machine: Machine
    devices: list[UsableDevice]
    devices_reason: str | None
    """Why none are told; None where they are."""
    engines: dict[str, str | None]
    """Of each why not; None where it is usable."""
    extras: list[Extra]
    threads: int
    """That the ceilings of the processor were measured with."""
    ceilings: list[Ceiling]
    noise_floor: Interval | None
    """How far apart this machine shows a thing and itself, as a share; None where it was not measured."""
    reading: Reading
    troubles: list[Trouble]
    quick: bool
    seconds: float
    """That all this took."""


def examine(store: Path, quick: bool = False) -> Diagnosis:
    """Look at the machine; the state is read before the ceilings put it under load.

    Args:
        quick: shorter measurements.
    """
    begin = time.perf_counter()
    libraries.prepare()  # as runs have it, and so before torch is imported
    machine = describe_machine(store)
    reading = read_state(machine)
    devices, reason = _devices()
    hot = throttle_counts()
    ceilings = list(_ceilings(machine, devices, reading, quick)) if reason is None else []
    reading = replace(reading, throttled=reading.throttled or throttled_since(hot))
    return Diagnosis(
        machine=machine,
        devices=devices,
        devices_reason=reason,
        engines=_engines(devices, reason),
        extras=extras(),
        threads=machine.cores_usable,
        ceilings=ceilings,
        noise_floor=None if quick else _noise_floor(store),
        reading=reading,
        troubles=troubles(reading),
        quick=quick,
        seconds=time.perf_counter() - begin,
    )


def _noise_floor(store: Path) -> Interval | None:
    """From comparisons of a small model with itself; kept for the comparisons to come, where the store can be written."""
    from thrifty.instrument.floor import keep_floor, measure_floor
    from thrifty.instrument.pairs import PairFailed

    try:
        floor = measure_floor()
    except PairFailed:
        return None
    with contextlib.suppress(OSError):
        keep_floor(store, floor)
    return floor


def array_mib(cache_mib: float | None, free_mib: float | None) -> int:
    """MiB of arrays that are four times the last cache, within bounds, and an eighth of the free memory at most."""
    least, most = _ARRAY_MIB
    wanted = min(most, max(least, 4 * (cache_mib or 32)))
    return int(wanted if free_mib is None else max(1, min(wanted, free_mib / 8)))


def note_of_dtype(name: str, rate: float, fp32: float | None) -> str | None:
    """A word on a dtype that is slower than the one it is to save time against."""
    if name == "fp32" or fp32 is None or rate >= fp32:
        return None
    return f"slower than fp32, {fp32 / rate:.3g} times: it saves no time here"


def _devices() -> tuple[list[UsableDevice], str | None]:
    """What torch finds; or why torch cannot say."""
    try:
        from thrifty.execution.usable import usable_devices
    except (ImportError, OSError) as error:
        return [], f"torch cannot be imported: {first_line(error)}"
    try:
        return usable_devices(), None
    except FAILURES as error:  # such as a driver that does not fit
        return [], f"torch finds no devices: {first_line(error)}"


def _engines(devices: list[UsableDevice], reason: str | None) -> dict[str, str | None]:
    """Of each engine why it cannot run on the device that `auto` takes."""
    best = next((one.name for one in devices if one.reason is None), None)
    if best is None:
        return dict.fromkeys(CHOICES["engine"], reason)
    from thrifty.execution.usable import usable_engines

    return usable_engines(best)


def _ceilings(machine: Machine, devices: list[UsableDevice], reading: Reading, quick: bool) -> Iterator[Ceiling]:
    """Every ceiling, measured as it is asked for; what fails is one with its reason."""
    import torch

    torch.set_num_threads(machine.cores_usable)
    seconds, end = (0.2, time.perf_counter() + LONGEST_S / 2) if quick else (1.0, time.perf_counter() + LONGEST_S)
    for device in (torch.device(one.name) for one in devices if one.reason is None):
        yield from _products(device, seconds, end)
        yield from _bandwidth(device, machine, reading, seconds, end)
    yield from _disk(machine, quick, end)


def _products(device: torch.device, seconds: float, end: float) -> Iterator[Ceiling]:
    import torch

    from thrifty.measure.ceiling import matmul_ceiling

    fp32: float | None = None
    for name, attribute in _DTYPES.items():
        if name in _ON_GPUS and device.type != "cuda":
            continue
        dtype = getattr(torch, attribute)
        found = attempt(lambda dtype=dtype: matmul_ceiling(device, dtype, seconds), end)
        label, unit = f"matrix product {name}", "GOP/s" if name == "int8" else "GFLOP/s"
        if isinstance(found, str):
            yield Ceiling(label, device.type, unit, missing(found))
            continue
        fp32 = found.flops_per_s if name == "fp32" else fp32
        size, slow = f"{found.size} x {found.size}", note_of_dtype(name, found.flops_per_s, fp32)
        yield Ceiling(label, device.type, unit, measured(found.flops_per_s / 1e9), f"{size}; {slow}" if slow else size)


def _bandwidth(device: torch.device, machine: Machine, reading: Reading, seconds: float, end: float) -> Iterator[Ceiling]:
    import torch

    from thrifty.measure.ceiling import copy_bytes_per_s, triad_bytes_per_s

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        cache, free = properties.L2_cache_size / 2**20, torch.cuda.mem_get_info(device)[0] / 2**20
    else:
        cache, free = machine.last_cache_mib, reading.memory_free_mib
    size = array_mib(cache, free)
    note = f"arrays of {size} MiB"
    if cache is not None and size < 4 * cache:
        note += f", less than 4 times the caches ({cache:.0f} MiB), which may have helped"
    for name, measure in (("copy", copy_bytes_per_s), ("triad", triad_bytes_per_s)):
        found = attempt(lambda measure=measure: measure(device, size, seconds), end)
        entry = missing(found) if isinstance(found, str) else measured(found / 1e9)
        yield Ceiling(f"memory {name}", device.type, "GB/s", entry, note)


def _disk(machine: Machine, quick: bool, end: float) -> Iterator[Ceiling]:
    from thrifty.measure.disk import disk_rates

    if time.perf_counter() > end:
        yield from (Ceiling(f"disk {name}", "disk", "MiB/s", missing(TOO_LATE)) for name in ("write", "read"))
        return
    rates = disk_rates(Path(machine.store), 32 if quick else 128, 0.5 if quick else 2.0)
    memory = f"{machine.file_system}: this is memory, not a disk" if machine.file_system in MEMORY_FILE_SYSTEMS else None
    yield Ceiling("disk write", "disk", "MiB/s", rates.write, memory or "until it lies on the disk (fsync)")
    yield Ceiling("disk read", "disk", "MiB/s", rates.read, memory or "this system's page cache dropped, a host's not")


def attempt(measure: Callable[[], Found], end: float) -> Found | str:
    """What is measured, or the reason why it cannot be.

    Args:
        end: by the performance counter; later than that it is not begun.
    """
    if time.perf_counter() > end:
        return TOO_LATE
    try:
        return measure()
    except FAILURES as error:
        return first_line(error)


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
