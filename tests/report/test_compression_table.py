"""Pruned models side by side: exact rows of records written by hand."""

from __future__ import annotations

import re
from typing import Any

import pytest
from example_pruned import lines_of, make_pruned

from thrifty.report.compression_table import compression_table

MASKED = ("pruner=magnitude", "sparsity=0.5")
PHYSICAL = ("pruner=structured_l1", "sparsity=0.5")


def table(records: list[dict[str, Any]], width: int = 200) -> list[str]:
    return lines_of(compression_table(records, width), width)


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def column(lines: list[str], heading: str) -> list[str]:
    place = cells(lines[0]).index(heading)
    return [cells(line)[place] for line in lines[1 : lines.index("")]]


def test_a_mask_and_a_smaller_model_beside_the_dense_one() -> None:
    lines = table([make_pruned(*MASKED, change=-0.002), make_pruned(*PHYSICAL, change=-0.0312)])
    assert [cells(line) for line in lines[:4]] == [
        [
            *("pruner", "sparsity", "gone", "accuracy", "points", "file", "sparse file"),
            *("latency / dense", "throughput / dense", "run"),
        ],
        ["dense", "-", "0.0 %", "98.00 %", "-", "2 MiB", "-", "1", "1", "20260102T030405000Z"],
        [
            *("magnitude", "0.5", "50.0 %", "97.80 %", "-0.20 (-0.70 to +0.30)", "2 MiB", "1 MiB"),
            *("1.00 (0.98 to 1.03)", "1.00 (0.90 to 1.10)", "20260102T030405678Z"),
        ],
        [
            *("structured_l1", "0.5", "50.0 %", "94.88 %", "-3.12 (-3.62 to -2.62)", "1 MiB", "-"),
            *("0.50 (0.48 to 0.53)", "2.00 (1.90 to 2.10)", "20260102T030405678Z"),
        ],
    ]


def test_the_legend_tells_of_what_is_there() -> None:
    both = "\n".join(table([make_pruned(*MASKED), make_pruned(*PHYSICAL)]))
    assert "\nmask-only (magnitude): " in both
    assert "\nphysical (structured_l1): " in both
    assert "points: 100 x the difference of accuracy, compressed minus dense; below 0 is worse." in both
    assert "interleaved pairs" in both
    masked = "\n".join(table([make_pruned(*MASKED, timed=False), make_pruned("pruner=random", "sparsity=0.5", timed=False)]))
    assert "mask-only (magnitude, random): " in masked
    assert ("physical" in masked, "interleaved" in masked) == (False, False)


def test_without_timings_there_are_no_columns_for_them() -> None:
    untimed = [make_pruned(*MASKED, timed=False), make_pruned(*PHYSICAL, timed=False)]
    assert "latency" not in table(untimed)[0]
    lines = table([untimed[0], make_pruned(*PHYSICAL)])
    assert column(lines, "latency / dense") == ["1", "-", "0.50 (0.48 to 0.53)"]


def test_a_grid_of_smaller_models_has_no_sparse_files() -> None:
    lines = table([make_pruned(*PHYSICAL), make_pruned(*PHYSICAL, gone=0.7)])
    assert "sparse file" not in lines[0]
    assert "sparse file" not in "\n".join(lines)


def test_a_smaller_model_is_told_by_its_pruner_where_nothing_was_compared() -> None:
    lines = table([make_pruned(*PHYSICAL, waterfall=[]), make_pruned(*MASKED, waterfall=[])])
    assert column(lines, "sparse file") == ["-", "1 MiB"]
    assert column(lines, "points") == ["-", "-"]  # and no row of a dense model that nobody saw


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_reasons_stand_below_in_full_once_each(width: int) -> None:
    reason = "pruner=structured_l1: nothing of the model can be removed " * 4
    failed: dict[str, Any] = {"status": "unsupported", "reason": reason, "metrics": {}, "waterfall": [], "parents": []}
    other = make_pruned(*MASKED, status="error", reason="[bold]x[/] (the traceback is in run.log)", waterfall=[])
    lines = table([make_pruned(*MASKED), make_pruned(*PHYSICAL, **failed), other, make_pruned(*PHYSICAL, **failed)], width)
    assert lines.count(f"(1) {reason.rstrip()}") == 1
    assert lines.count("(2) [bold]x[/] (the traceback is in run.log)") == 1
    if width == 200:
        assert column(lines, "status") == ["-", "ok", "unsupported (1)", "error (2)", "unsupported (1)"]
        assert cells(lines[3])[:6] == ["structured_l1", "0.5", "unsupported (1)", "-", "-", "-"]


def test_what_differs_beside_pruner_and_sparsity_has_its_column() -> None:
    lines = table([make_pruned(*PHYSICAL, "pruner.counts=flops"), make_pruned(*MASKED, "method.finetune=0")])
    assert cells(lines[0])[:4] == ["pruner", "sparsity", "pruner.counts", "method.finetune"]
    assert column(lines, "pruner.counts") == ["-", "flops", "-"]
    assert column(lines, "method.finetune") == ["-", "0.5", "0.0"]


def test_each_dense_model_has_its_row_with_what_its_runs_share() -> None:
    records = [
        make_pruned("pruner=magnitude", f"sparsity={share}", f"seed={seed}", parents=[f"dense-{seed}"], seed=seed)
        for seed in (1, 2)
        for share in (0.5, 0.8)
    ]
    lines = table(records)
    assert column(lines, "pruner") == ["dense", "dense", *["magnitude"] * 4]
    assert column(lines, "sparsity") == ["-", "-", "0.5", "0.8", "0.5", "0.8"]
    assert column(lines, "seed") == ["1", "2", "1", "1", "2", "2"]


@pytest.mark.parametrize("width", [70, 80, 90, 100, 120, 140, 160])
def test_the_table_fits_and_keeps_its_first_columns(width: int) -> None:
    lines = table([make_pruned(*MASKED), make_pruned(*PHYSICAL)], width)
    rows = lines[: lines.index("")]
    assert max(map(len, rows)) <= width
    assert "…" not in "".join(rows)
    assert cells(rows[0])[:5] == ["pruner", "sparsity", "gone", "accuracy", "points"]
    assert "latency / dense" in rows[0]


def test_intervals_give_way_to_latency_and_the_legend_says_where_they_are() -> None:
    wide, narrow = (table([make_pruned(*MASKED), make_pruned(*PHYSICAL)], width) for width in (86, 85))
    assert column(wide, "latency / dense")[1:] == ["1.00 (0.98 to 1.03)", "0.50 (0.48 to 0.53)"]
    assert "file" not in cells(wide[0])
    assert column(narrow, "latency / dense")[1:] == ["1.00", "0.50"]
    assert column(narrow, "points")[1:] == ["-1.00", "-1.00"]
    assert "file" in cells(narrow[0])
    assert narrow[-1].startswith("95 % intervals: in a wider window")
