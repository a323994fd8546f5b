"""What sparsity=auto tried: exact rows of a search written by hand."""

from __future__ import annotations

import re
from typing import Any

from example_pruned import lines_of, make_pruned

from thrifty.report.search import search_report


def tried(sparsity: float, loss: float, low: float | None, high: float | None, certified: bool) -> dict[str, Any]:
    return {"sparsity": sparsity, "loss": loss, "low": low, "high": high, "certified": certified, "n": 1140}


SEARCH = [
    tried(0.5, 0.1, -0.1, 0.3, True),
    tried(0.95, 3.0, 2.0, 4.0, False),
    tried(0.7, 0.2, -0.1, 0.45, True),
    tried(0.8, 0.4, 0.1, 0.8, False),
    tried(0.75, 0.4, None, None, False),
]


def report(search: list[dict[str, Any]], *overrides: str) -> list[str]:
    record = make_pruned("sparsity=auto", *overrides, search=search)
    return lines_of(search_report(record), 100)


def test_evaluations_are_told_in_their_order_with_a_verdict() -> None:
    lines = report(SEARCH)
    assert lines[0] == "Search for the largest sparsity that costs at most 0.5 points of accuracy"
    assert [re.split(r" {2,}", line.strip()) for line in lines[1:7]] == [
        ["sparsity", "points lost", "95% interval", "examples", "verdict"],
        ["0.5", "0.10", "-0.10 to 0.30", "1,140", "within"],
        ["0.95", "3.00", "2.00 to 4.00", "1,140", "over"],
        ["0.7", "0.20", "-0.10 to 0.45", "1,140", "within"],
        ["0.8", "0.40", "0.10 to 0.80", "1,140", "cannot certify"],
        ["0.75", "0.40", "-", "1,140", "cannot certify"],
    ]
    assert lines[7] == "largest within: sparsity=0.7; kept: sparsity=0.8, which is not certified"


def test_over_is_over_what_was_allowed() -> None:
    lines = report([tried(0.95, 3.0, 2.0, 4.0, False)], "max_quality_loss=2.5")
    assert "at most 2.5 points" in lines[0]
    assert lines[2].endswith("cannot certify")
    assert lines[3] == "none of them is certain to be within"


def test_a_record_without_a_search_has_nothing_to_tell() -> None:
    assert search_report(make_pruned("sparsity=0.5")) == []
