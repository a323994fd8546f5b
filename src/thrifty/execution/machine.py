"""What this machine is: the facts that do not change while we measure. Imports no torch."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from thrifty.measure.cgroup import Limits, limits
from thrifty.record import environment, usable_cores

_CPUS = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_MOUNTS = Path("/proc/self/mountinfo")
_SIZE = re.compile(r"(\d+)([KMG]?)")
_KIB = {"": 1 / 1024, "K": 1, "M": 1024, "G": 2**20}
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Machine:
    """None is what this system does not tell."""

    cpu: str
    isa: list[str]
    """Instruction sets that decide how fast which precision is."""
    virtual: bool | None
    """Whether it is a virtual machine, whose cores a host may take away."""
    cores_seen: int
    cores_usable: int
    """By affinity: those this process may run on."""
    last_cache_mib: float | None
    """Of all last-level caches together."""
    memory_mib: int | None
    limits: Limits
    """By control groups, such as a container's."""
    store: str
    """The directory whose disk is meant: the store's, or the nearest above it that exists."""
    file_system: str | None
    disk_mib: int | None
    disk_free_mib: int | None
    system: str
    python: str
    versions: dict[str, str | None]
    commit: str | None
    dirty: bool | None


def describe_machine(store: Path) -> Machine:
    """The machine, and the disk that the store lies on, or would."""
    facts = environment()
    directory = existing_directory(store)
    disk = _disk_mib(directory)
    return Machine(
        cpu=facts["cpu"]["name"],
        isa=facts["cpu"]["isa"],
        virtual=is_virtual(_text(_CPUINFO)),
        cores_seen=os.cpu_count() or 1,
        cores_usable=usable_cores(),
        last_cache_mib=last_cache_mib(),
        memory_mib=facts["memory_mib"],
        limits=limits(),
        store=str(directory),
        file_system=file_system(_text(_MOUNTS), directory),
        disk_mib=disk[0],
        disk_free_mib=disk[1],
        system=platform.platform(),
        python=platform.python_version(),
        versions=facts["versions"],
        commit=facts["commit"],
        dirty=facts["dirty"],
    )


def existing_directory(path: Path) -> Path:
    """The path itself where it is a directory, else the nearest above it."""
    absolute = path.absolute()
    return next((one for one in (absolute, *absolute.parents) if _is_directory(one)), Path.cwd())


def is_virtual(cpuinfo: str | None) -> bool | None:
    """Whether /proc/cpuinfo has the flag that hypervisors set; None where no flags are told (not x86, not Linux)."""
    for line in (cpuinfo or "").splitlines():
        label, _, flags = line.partition(":")
        if label.strip() == "flags":
            return "hypervisor" in flags.split()
    return None


def last_cache_mib(cpus: Path = _CPUS) -> float | None:
    """MiB of the highest level of caches, each counted once however many cores share it."""
    found: dict[int, dict[str, float]] = {}
    for cache in cpus.glob("cpu[0-9]*/cache/index[0-9]*"):
        level, size, sharers = (_text(cache / name) for name in ("level", "size", "shared_cpu_list"))
        parts = _SIZE.fullmatch((size or "").strip())
        if level is None or parts is None or not level.strip().isdigit():
            continue
        owner = (sharers or str(cache)).strip()
        found.setdefault(int(level), {})[owner] = int(parts[1]) * _KIB[parts[2]] / 1024
    return sum(found[max(found)].values()) if found else None


def file_system(mounts: str | None, directory: Path) -> str | None:
    """Kind of the file system that a directory lies on, from /proc/self/mountinfo."""
    path = directory.resolve()
    best: tuple[int, str] | None = None
    for line in (mounts or "").splitlines():
        front, _, back = line.partition(" - ")
        before, after = front.split(), back.split()
        if len(before) < 5 or not after:
            continue
        point = Path(before[4].replace("\\040", " "))
        if path.is_relative_to(point) and (
            best is None or len(point.parts) >= best[0]
        ):  # of equals the later covers the earlier
            best = (len(point.parts), after[0])
    return None if best is None else best[1]


def _is_directory(path: Path) -> bool:
    """Whether it is one that we may see."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _disk_mib(directory: Path) -> tuple[int | None, int | None]:
    """Size and free space."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return None, None
    return usage.total // 2**20, usage.free // 2**20


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
