"""What a search tried, as a table: rows written by hand."""

from __future__ import annotations

from typing import Any

from example_pruned import lines_of
from example_record import make_record

from thrifty.report.optimize import optimize_report


def row(quantizer: str, engine: str, status: str, ratio: float | None = None, why: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "quantizer": quantizer, "precision": "fp32", "engine": engine, "threads": 2, "batch_size": 1, "status": status,
        "ratio": ratio, "low": None if ratio is None else ratio - 0.01, "high": None if ratio is None else ratio + 0.01,
        "in_full": status in ("winner", "finalist"), "loss": 0.1, "loss_low": 0.0, "loss_high": 0.2, "examples": 100,
        "certified": True, "seconds": 1.0, "why": why, **fields,
    }  # fmt: skip


ROWS = [
    row("none", "eager", "baseline", 1.0, "the dense model as PyTorch runs it", low=None, high=None),
    row("int8_dynamic", "eager", "dropped", 2.4, "2.40 times as long as fp32 eager"),
    row("int8_static", "eager", "not tried", None, "only imitates"),
    row("int8_weight", "eager", "beyond the bound", None, "loses 2.00 points", loss=2.0),
    row("none", "openvino", "finalist", 0.5, "1.25 times what it takes", loss=0.0, examples=0),
    row("int8_static", "openvino", "winner", 0.4, certified=False),
    *(row("int8_weight", engine, "not tried", None, "no time", loss=None) for engine in ("openvino", "compile")),
    *(row("int8_dynamic", engine, "not tried", None, "no time", loss=None) for engine in ("openvino", "compile")),
]


def report(width: int) -> list[str]:
    record = make_record("method=optimize", optimize=ROWS)
    return lines_of(optimize_report(record, width), width)


def test_the_winner_comes_first_and_every_other_says_why_it_lost() -> None:
    lines = report(200)
    assert lines[0] == "Search for the best latency that loses at most 0.5 points of accuracy"
    assert [line.split("  ")[1].strip() for line in lines[2:7]] == [
        "int8_static fp32 openvino, 2 threads, batch 1",
        "fp32 eager, 2 threads, batch 1",
        "fp32 openvino, 2 threads, batch 1",
        "int8_dynamic fp32 eager, 2 threads, batch 1",
        "int8_weight fp32 eager, 2 threads, batch 1",
    ]
    assert "0.400 (0.390 to 0.410) *" in lines[2]
    assert "0.10 (0.00 to 0.20) ?" in lines[2]
    assert lines[4].endswith("1.25 times what it takes")
    assert " 0  finalist" in lines[4]
    assert "2.400 (2.390 to 2.410)" in lines[5]
    assert "2.400 (2.390 to 2.410) *" not in lines[5]
    assert lines[6].endswith("loses 2.00 points")


def test_those_that_share_a_reason_share_a_line() -> None:
    lines = report(200)
    assert "- not tried: int8_static fp32 eager, 2 threads, batch 1: only imitates" in lines
    (shared,) = [line for line in lines if "no time" in line]
    assert "; and 1 more: no time" in shared


def test_a_narrow_terminal_has_the_reasons_below() -> None:
    lines = report(110)
    assert not any(line.endswith("1.25 times what it takes") for line in lines[2:7])
    assert "- fp32 openvino, 2 threads, batch 1: 1.25 times what it takes" in lines


def test_other_runs_have_no_such_table() -> None:
    assert optimize_report(make_record(), 100) == []
