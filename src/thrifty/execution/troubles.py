"""What would spoil a measurement now, and what to do about each: a line of each."""

from __future__ import annotations

from dataclasses import dataclass

from thrifty.execution.readings import Reading

OTHERS_CORES = 0.1
"""Cores. The kernel's own upkeep stays well below."""
STOLEN_SHARE = 0.01
SWAP_MIB = 64
"""Less is what a kernel puts aside in idle hours and never fetches again."""
MEMORY_MIB = 2048
"""A run takes some 0.5 GiB, two arms that are compared 1 GiB, a model of some size the rest."""
SHARED_MEMORY_MIB = 128
TEMPORARY_MIB = 256
STORE_MIB = 1024


@dataclass(frozen=True)
class Trouble:
    """One thing that makes figures wrong, or runs fail."""

    name: str
    what: str
    remedy: str


def troubles(reading: Reading) -> list[Trouble]:
    """Those of a reading, in the order of how much they spoil; what could not be read is no trouble."""
    return [*_load(reading), *_cores(reading), *_clock(reading), *_memory(reading), *_room(reading), *_processes(reading)]


def _load(reading: Reading) -> list[Trouble]:
    found = []
    if _above(reading.others_cores, OTHERS_CORES):
        names = f": {', '.join(reading.busiest)}" if reading.busiest else ""
        what = f"other processes keep {reading.others_cores:.2f} cores busy{names}"
        which = "" if names else " (`top` shows which)"
        found.append(Trouble("busy", what, f"stop them{which}, or wait until they are done"))
    if _above(reading.stolen_share, STOLEN_SHARE):
        what = f"the host of this virtual machine takes {100 * (reading.stolen_share or 0):.0f} % of its cores' time"
        found.append(Trouble("steal", what, "measure at a quieter hour, or on a machine with cores of its own"))
    return found


def _cores(reading: Reading) -> list[Trouble]:
    quota = reading.quota_cores
    if quota is None or quota >= reading.cores_usable:
        return []
    what = f"a control group allows {quota:g} cores' time, and {reading.cores_usable} cores are seen: threads get stopped in between"
    remedy = f"run with threads={max(1, int(quota))}, or give the container whole cores (docker: --cpuset-cpus)"
    return [Trouble("quota", what, remedy)]


def _clock(reading: Reading) -> list[Trouble]:
    found = []
    if reading.powersave_cores:
        what = f"{reading.powersave_cores} cores have the governor `powersave`: their clock follows the load"
        found.append(Trouble("powersave", what, "sudo cpupower frequency-set -g performance"))
    if reading.throttled:
        what = f"the processor is too hot and runs slower ({reading.throttled})"
        found.append(Trouble("throttling", what, "let it cool, or give it air; then measure again"))
    if reading.on_battery:
        found.append(Trouble("battery", "it runs on its battery, which slows the clock", "plug it in"))
    return found


def _memory(reading: Reading) -> list[Trouble]:
    found = []
    if _above(reading.swap_used_mib, SWAP_MIB):
        what = f"{reading.swap_used_mib:,.0f} MiB of memory lie in swap, and are fetched from the disk when needed"
        found.append(Trouble("swap", what, "end what needs the memory, then `sudo swapoff -a && sudo swapon -a`"))
    if _below(reading.memory_free_mib, MEMORY_MIB):
        what = f"{reading.memory_free_mib:,.0f} MiB of memory are free"
        if reading.memory_limited:
            remedy = "give the control group more (docker: --memory), or choose a smaller model"
        else:
            remedy = "end what needs the memory, or choose a smaller model"
        found.append(Trouble("memory", what, remedy))
    return found


def _room(reading: Reading) -> list[Trouble]:
    found = []
    if _below(reading.shared_memory_free_mib, SHARED_MEMORY_MIB):
        what = f"/dev/shm, through which processes share tensors, has {reading.shared_memory_free_mib:,.0f} MiB free"
        found.append(Trouble("shared_memory", what, "docker: --shm-size=1g; else `sudo mount -o remount,size=1g /dev/shm`"))
    if reading.temporary_directory is None:
        what = "there is no temporary directory that can be written"
        found.append(Trouble("temporary_directory", what, "set TMPDIR to a directory of yours"))
    elif _below(reading.temporary_free_mib, TEMPORARY_MIB):
        what = f"the temporary directory {reading.temporary_directory} has {reading.temporary_free_mib:,.0f} MiB free"
        found.append(Trouble("temporary_directory", what, "free some, or set TMPDIR to a directory with more"))
    if _below(reading.store_free_mib, STORE_MIB):
        what = f"the store's disk has {reading.store_free_mib:,.0f} MiB free"
        found.append(Trouble("store", what, "free some, or choose another with store=DIR"))
    return found


def _processes(reading: Reading) -> list[Trouble]:
    if not reading.fork_server_known:
        what = "this system has no fork servers: each process makes its own imports, some 5 s"
        return [Trouble("fork_server", what, "nothing is wrong with the figures; Linux and macOS have them")]
    if not reading.fork_server_fits and reading.temporary_directory is not None:
        what = (
            f"the temporary directory's path is too long for a fork server's socket ({len(reading.temporary_directory)} characters): "
            "each process makes its own imports, some 5 s"
        )
        return [Trouble("fork_server", what, "set TMPDIR to a directory with a shorter path, such as /tmp")]
    return []


def _above(value: float | None, bound: float) -> bool:
    return value is not None and value > bound


def _below(value: float | None, bound: float) -> bool:
    return value is not None and value < bound
