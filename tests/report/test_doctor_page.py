"""What `thrifty doctor` shows."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from rich.console import Console

from thrifty.execution.extras import Extra
from thrifty.execution.machine import Machine
from thrifty.execution.readings import Reading
from thrifty.execution.troubles import Trouble
from thrifty.execution.usable import UsableDevice
from thrifty.instrument.doctor import Ceiling, Diagnosis
from thrifty.measure.cgroup import Limits
from thrifty.measure.statistics import Interval
from thrifty.metrics import measured, missing
from thrifty.report.doctor import doctor_page
from thrifty.report.terminal import show

MACHINE = Machine(
    cpu="Example 9000", isa=["avx2", "avx512f"], virtual=True, cores_seen=8, cores_usable=4, last_cache_mib=32.0,
    memory_mib=16384, limits=Limits(2.5, 2048.0, 100.0), store="/data/results", file_system="xfs", disk_mib=204800,
    disk_free_mib=51200, system="Linux-6", python="3.11.7", versions={"torch": "2.13.0", "wandb": None},
    commit="0123456789abcdef", dirty=True,
)  # fmt: skip
READING = Reading(0.0, (), 0.0, 4, None, None, None, None, None, None, False, None, "/tmp", None, None, True, True)
DIAGNOSIS = Diagnosis(
    machine=MACHINE,
    devices=[
        UsableDevice("cuda", None, "this build of torch has no CUDA", {}),
        UsableDevice("cpu", None, None, {"fp32": None, "bf16": None, "fp16": "is slow here"}),
    ],
    devices_reason=None,
    engines={"eager": None, "other": "needs a compiler"},
    extras=[
        Extra("dev", {"pytest": "9.1"}, [], None),
        Extra("parquet", {}, ["pyarrow>=20"], "pip install -e '.[parquet]' -c constraints.txt"),
    ],
    threads=4,
    ceilings=[
        Ceiling("matrix product fp32", "cpu", "GFLOP/s", measured(95.4321), "1024 x 1024"),
        Ceiling("matrix product int8", "cpu", "GOP/s", missing("no [red] 8-bit products here")),
        Ceiling("disk write", "disk", "MiB/s", measured(377.9)),
    ],
    noise_floor=None,
    reading=READING,
    troubles=[],
    quick=False,
    seconds=9.41,
)


def shown(diagnosis: Diagnosis, width: int = 200) -> list[str]:
    output = io.StringIO()
    show(doctor_page(diagnosis), Console(file=output, width=width))
    return [" ".join(line.split()) for line in output.getvalue().splitlines()]


def test_the_machine_is_told() -> None:
    lines = shown(DIAGNOSIS)
    assert "cpu Example 9000 (avx2 avx512f)" in lines
    assert "cores 4 usable of 8; a control group allows the time of 2.5; a virtual machine" in lines
    assert "memory 16.0 GiB; a control group allows 2.0 GiB; last cache 32 MiB" in lines
    assert "disk 50.0 GiB free of 200.0 GiB, xfs, at /data/results" in lines
    assert "versions torch 2.13.0, commit 0123456789ab with changes" in lines


def test_what_is_not_usable_says_why_or_how() -> None:
    lines = shown(DIAGNOSIS)
    assert "device=cuda no: this build of torch has no CUDA" in lines
    assert "device=cpu precision=fp32,bf16" in lines
    assert "not fp16: is slow here" in lines
    assert "engine=eager yes" in lines
    assert "engine=other no: needs a compiler" in lines
    assert "extra dev installed: pytest 9.1" in lines
    assert "extra parquet no: pip install -e '.[parquet]' -c constraints.txt" in lines


def test_ceilings_have_their_unit_or_their_reason() -> None:
    lines = shown(DIAGNOSIS)
    assert "matrix product fp32 processor 95.43 GFLOP/s 1024 x 1024" in lines
    assert "matrix product int8 processor - no [red] 8-bit products here" in lines
    assert "disk write 377.9 MiB/s" in lines


def test_figures_stay_whole_in_a_narrow_window() -> None:
    lines = shown(DIAGNOSIS, width=60)
    assert any(line.startswith("matrix product fp32 processor 95.43 GFLOP/s") for line in lines)
    assert any(line.startswith("matrix product int8 processor -") for line in lines)


def after(lines: list[str], heading: str) -> str:
    return lines[lines.index(heading) + 1]


def test_the_noise_floor_is_told_in_percent() -> None:
    assert after(shown(DIAGNOSIS), "Noise floor") == "not measured; `thrifty doctor` without --quick does"
    floor = replace(DIAGNOSIS, noise_floor=Interval(0.0123, 0.008, 0.021, 4))
    assert after(shown(floor), "Noise floor").startswith("1.2 % (0.8 to 2.1 %): smaller differences")
    alone = replace(DIAGNOSIS, noise_floor=Interval(0.0123))
    assert after(shown(alone), "Noise floor").startswith("1.2 %: smaller differences")


def test_troubles_come_with_what_to_do() -> None:
    heading = "What would spoil a measurement now"
    assert after(shown(DIAGNOSIS), heading) == "nothing that we know to look for"
    lines = shown(replace(DIAGNOSIS, troubles=[Trouble("busy", "2 cores [busy]", "stop [them]")]))
    start = lines.index(heading)
    assert lines[start + 1 : start + 3] == ["! 2 cores [busy]", "stop [them]"]


def test_a_machine_that_tells_little_is_shown_too() -> None:
    untold: dict[str, Any] = {
        "last_cache_mib": None, "memory_mib": None, "file_system": None, "disk_mib": None, "disk_free_mib": None,
        "virtual": None, "commit": None, "dirty": None, "isa": [], "limits": Limits(),
    }  # fmt: skip
    reason = "torch cannot be imported: no libgomp"
    lines = shown(
        replace(DIAGNOSIS, machine=replace(MACHINE, **untold), devices=[], devices_reason=reason, ceilings=[], extras=[])
    )
    assert "cpu Example 9000" in lines
    assert "memory not told by this system" in lines
    assert "disk not told, at /data/results" in lines
    assert f"devices not known: {reason}" in lines
    assert f"not measured: {reason}" in lines
