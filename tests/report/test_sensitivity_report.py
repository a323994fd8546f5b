"""What each layer costs alone: exact cells of a study written by hand."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from example_pruned import lines_of, make_pruned

from thrifty.config.compose import compose
from thrifty.report.sensitivity import sensitivity_report

HALF = 0.01


def level(layer: str, sparsity: float, difference: float, weights: int = 2048) -> dict[str, Any]:
    interval = {"difference": difference, "low": difference - HALF, "high": difference + HALF}
    return {"layer": layer, "weights": weights, "sparsity": sparsity, "value": 0.98 + difference, **interval}


STUDY = [
    level("body.0", 0.9, -0.03),
    level("body.0", 0.5, 0.0),
    level("body.3", 0.5, -0.01, 16384),
    level("body.3", 0.9, -0.2, 16384),
    level("body.6", 0.5, 0.0),
    level("body.6", 0.9, 0.004),
    level("body.9", 0.9, -0.009),
    level("late", 0.5, -0.4),
]


def report(study: list[dict[str, Any]], width: int = 100, **fields: Any) -> list[str]:
    record = make_pruned("sparsity=0.5", sensitivity=study, **fields)
    return lines_of(sensitivity_report(record, width), width)


def cells(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def test_the_layer_that_costs_most_at_the_highest_level_comes_first() -> None:
    assert [cells(line) for line in report(STUDY)[1:7]] == [
        ["layer", "weights", "50 %", "90 %"],
        ["body.3", "16.38 k", "-1.00 (-2.00 to +0.00)", "-20.00 (-21.00 to -19.00)", "spare"],
        ["body.0", "2,048", "+0.00 (-1.00 to +1.00)", "-3.00 (-4.00 to -2.00)", "spare"],
        ["body.9", "2,048", "-", "-0.90 (-1.90 to +0.10)"],
        ["body.6", "2,048", "+0.00 (-1.00 to +1.00)", "+0.40 (-0.60 to +1.40)"],
        ["late", "2,048", "-40.00 (-41.00 to -39.00)", "-"],
    ]


def test_bars_are_as_long_as_the_loss() -> None:
    lines = report(STUDY)
    start = lines.index("Points lost at 90 %") + 1
    bars = [(cells(line)[:2], line.count("█")) for line in lines[start : start + 4]]
    assert bars == [
        (["body.3", "20.00"], 40),
        (["body.0", "3.00"], 6),
        (["body.9", "0.90"], 1),
        (["body.6", "-0.40"], 0),
    ]


def test_what_to_spare_can_be_typed() -> None:
    (line,) = [line for line in report(STUDY) if line.startswith("spare: ")]
    (override,) = shlex.split(line.removeprefix("spare: "))
    assert override == "pruner.protect=[embeddings,norms,biases,head,body.3,body.0]"
    pruner = compose(["task=tabular", "method=prune", "sparsity=0.5", override]).pruner
    assert pruner is not None
    assert pruner.protect[-2:] == ["body.3", "body.0"]


def test_what_was_protected_stays_so() -> None:
    record = make_pruned("sparsity=0.5", "pruner.protect=[head,body.3]", sensitivity=STUDY)
    assert "spare: 'pruner.protect=[head,body.3,body.0]'" in lines_of(sensitivity_report(record, 100), 100)


def test_where_no_layer_costs_anything_none_is_spared() -> None:
    lines = report([level("body.0", 0.9, 0.0), level("body.3", 0.9, 0.02)])
    assert "No layer costs quality beyond doubt at 90 %: none needs to be spared." in lines
    assert ("spare:" in "\n".join(lines), "Points lost" in "\n".join(lines)) == (False, False)


def test_of_an_error_more_is_worse_and_a_point_is_a_percent() -> None:
    worse, better = (level(name, 0.9, by) | {"value": 4.0 + by} for name, by in (("worse", 0.2), ("better", -0.2)))
    lines = report([better, worse], data={"deciding": "bits_per_byte"})
    assert cells(lines[2]) == ["worse", "2,048", "+5.00 (+4.75 to +5.25)", "spare"]
    assert cells(lines[3]) == ["better", "2,048", "-5.00 (-5.25 to -4.75)"]


def test_a_layer_without_an_interval_is_not_spared() -> None:
    lines = report([level("body.0", 0.9, -0.3) | {"low": None, "high": None}])
    assert cells(lines[2]) == ["body.0", "2,048", "-30.00"]


@pytest.mark.parametrize("width", [45, 60, 80, 100])
def test_the_table_fits(width: int) -> None:
    lines = report([level("body.0", share, -share / 9) for share in (0.3, 0.5, 0.7, 0.9)], width)
    assert max(map(len, lines[1:3])) <= width
    assert "…" not in "".join(lines[1:3])
    assert "90 %" in lines[1]


def test_of_many_layers_the_dearest_have_bars() -> None:
    lines = report([level(f"body.{number}", 0.9, -number / 100) for number in range(30)])
    assert "Points lost at 90 %, the 20 dearest of 30" in lines
    assert sum("█" in line for line in lines) == 20


def test_a_record_without_a_study_has_nothing_to_tell() -> None:
    assert sensitivity_report(make_pruned("sparsity=0.5"), 100) == []
