"""What the time and the memory of a few calls go to, as torch's profiler sees it. Being watched slows the calls down."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

CALLS, WARM_UP_CALLS = 3, 1
COSTLIEST = 10
_MOST_ALLOCATIONS = 100_000
"""Events of the CUDA allocator that its history keeps."""


@dataclass(frozen=True)
class Phase:
    """One kind of call that is watched."""

    call: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    """Made before each call, and no part of it; no operations, which would be seen."""


@dataclass(frozen=True)
class Profile:
    """What was seen."""

    operations: list[dict[str, Any]]
    """The costliest by time of their own, first the dearest: `name`, `calls`, `self_ms` of all calls, `share` of the whole."""
    trace: bytes
    """Chrome's trace format, JSON."""
    memory: dict[str, Any]
    """On CUDA the allocator's snapshot with its history; else what each operation allocated, in bytes."""


def profiled(phases: dict[str, Phase], device: torch.device) -> Profile:
    """Watch a few calls of each phase, after one that is not watched.

    Args:
        phases: what to call, by the name under which the trace has it.
    """
    cuda = device.type == "cuda"
    for phase in phases.values():
        for _ in range(WARM_UP_CALLS):
            phase.prepare()
            phase.call()
    if cuda:
        torch.cuda.memory._record_memory_history(max_entries=_MOST_ALLOCATIONS, stacks="python")
    try:
        with profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])], profile_memory=True
        ) as seen:
            for name, phase in phases.items():
                for _ in range(CALLS):
                    phase.prepare()
                    with record_function(name):
                        phase.call()
            if cuda:
                torch.cuda.synchronize(device)
        snapshot = torch.cuda.memory._snapshot(device) if cuda else None
    finally:
        if cuda:
            torch.cuda.memory._record_memory_history(enabled=None)
    events = [one for one in seen.key_averages() if one.device_type.name == "CPU"]
    with tempfile.TemporaryDirectory(prefix="thrifty-") as directory:
        path = Path(directory) / "trace.json"
        seen.export_chrome_trace(str(path))
        trace = path.read_bytes()
    return Profile(_costliest(events, phases, cuda), trace, _allocations(events) if snapshot is None else _plain(snapshot))


def _costliest(events: list[Any], phases: dict[str, Any], cuda: bool) -> list[dict[str, Any]]:
    """By the device's time where there is one, else the CPU's. What a phase spends outside of operations counts as one."""
    found = [
        {
            "name": f"{one.key}: between operations" if one.key in phases else one.key,
            "calls": one.count,
            "self_ms": (one.self_device_time_total if cuda else one.self_cpu_time_total) / 1e3,
        }
        for one in events
    ]
    whole = sum(one["self_ms"] for one in found)
    dearest = sorted((one for one in found if one["self_ms"] > 0), key=lambda one: -one["self_ms"])[:COSTLIEST]
    return [{**one, "share": one["self_ms"] / whole} for one in dearest]


def _allocations(events: list[Any]) -> dict[str, Any]:
    found = [
        {"name": one.key, "calls": one.count, "self_bytes": one.self_cpu_memory_usage, "bytes": one.cpu_memory_usage}
        for one in events
    ]
    return {"operations": sorted(found, key=lambda one: -one["self_bytes"])}


def _plain(snapshot: Any) -> dict[str, Any]:
    """As JSON can hold it."""
    plain: dict[str, Any] = json.loads(json.dumps(snapshot, default=str))
    return plain
