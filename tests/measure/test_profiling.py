"""The profiler's account against calls whose operations are known."""

from __future__ import annotations

import json
import time

import pytest
import torch

from thrifty.measure.profiling import CALLS, COSTLIEST, Phase, profiled

CPU = torch.device("cpu")
LARGE, SMALL = torch.ones(256, 256), torch.ones(4, 4)


def test_operations_are_counted_timed_and_ranked() -> None:
    made = {"large": 0, "prepared": 0}

    def large() -> None:
        made["large"] += 1
        torch.mm(LARGE, LARGE)

    def prepare() -> None:
        made["prepared"] += 1

    found = profiled({"large": Phase(large, prepare), "small": Phase(lambda: torch.add(SMALL, SMALL))}, CPU)
    assert made["large"] == made["prepared"] == CALLS + 1
    names = {one["name"]: one for one in found.operations}
    assert names["aten::mm"]["calls"] == names["aten::add"]["calls"] == CALLS
    assert names["aten::mm"]["self_ms"] > names["aten::add"]["self_ms"] > 0
    assert {"large: between operations", "small: between operations"} <= set(names)
    times = [one["self_ms"] for one in found.operations]
    assert times == sorted(times, reverse=True)
    # So few operations that all are shown.
    assert sum(one["share"] for one in found.operations) == pytest.approx(1)
    assert names["aten::mm"]["share"] == pytest.approx(names["aten::mm"]["self_ms"] / sum(times))


def test_what_is_no_operation_counts_as_time_between_them() -> None:
    found = profiled({"sleep": Phase(lambda: time.sleep(0.02))}, CPU)
    (only,) = found.operations
    assert only["name"] == "sleep: between operations"
    assert only["calls"] == CALLS
    assert only["self_ms"] >= 20 * CALLS
    assert only["share"] == 1


def test_memory_is_told_by_operation() -> None:
    found = profiled({"fill": Phase(lambda: torch.ones(1024))}, CPU)
    (empty,) = [one for one in found.memory["operations"] if one["name"] == "aten::empty"]
    assert empty == {"name": "aten::empty", "calls": CALLS, "self_bytes": CALLS * 4096, "bytes": CALLS * 4096}


def test_the_trace_is_chrome_s_and_names_the_phases() -> None:
    found = profiled({"one": Phase(lambda: SMALL + 1), "other": Phase(lambda: SMALL * 2)}, CPU)
    events = json.loads(found.trace)["traceEvents"]
    for name in ("one", "other", "aten::add", "aten::mul"):
        assert sum(event.get("name") == name and event.get("ph") == "X" for event in events) == CALLS


def test_no_more_than_the_costliest_are_told() -> None:
    operations = (
        torch.sin,
        torch.cos,
        torch.tan,
        torch.exp,
        torch.abs,
        torch.neg,
        torch.sqrt,
        torch.relu,
        torch.sign,
        torch.ceil,
    )
    found = profiled({"many": Phase(lambda: [one(LARGE) for one in operations])}, CPU)
    assert len(found.operations) == COSTLIEST
    assert sum(one["share"] for one in found.operations) < 1
