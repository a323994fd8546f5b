"""The plot of quality against what is gone."""

from __future__ import annotations

import re
from typing import Any

import plotext
import pytest
from example_pruned import make_pruned

from thrifty.report.quality_curve import quality_curve


def grid(pruner: str, *shares: float, drop: float = 0.1) -> list[dict[str, Any]]:
    return [make_pruned(f"pruner={pruner}", f"sparsity={one}", gone=one, change=-drop * one) for one in shares]


def drawn(records: list[dict[str, Any]], width: int = 80, height: int = 18) -> list[str]:
    found = quality_curve(records, width, height)
    assert found is not None
    return found.splitlines()


def frame(lines: list[str]) -> list[str]:
    """What lies between the axes."""
    return [re.split("[┤├┼│]", line, maxsplit=1)[1] for line in lines[2 : len(lines) - 4]]


def place(lines: list[str], marker: str) -> list[tuple[int, int]]:
    return [(row, column) for row, line in enumerate(frame(lines)) for column, one in enumerate(line) if one == marker]


def test_every_run_has_its_mark_and_every_pruner_its_own() -> None:
    lines = drawn(grid("magnitude", 0.9, 0.5, 0.7) + grid("random", 0.55, 0.85, drop=0.3))
    assert lines[-1] == "o magnitude   x random   ┈ dense: 98.00 %"
    first, second = place(lines, "o"), place(lines, "x")
    assert (len(first), len(second)) == (3, 2)
    # Further to the right more is gone and the model is worse.
    assert [column for _, column in sorted(first)] == sorted(column for _, column in first)
    assert min(second)[0] > min(first)[0]


def test_the_dense_model_is_a_line_above_worse_ones() -> None:
    lines = drawn(grid("magnitude", 0.5, 0.9))
    dense = [number for number, line in enumerate(frame(lines)) if line.count("┈") > 20]
    assert len(dense) == 1
    assert dense[0] < min(place(lines, "o"))[0]


def test_axes_say_what_they_are() -> None:
    lines = drawn(grid("magnitude", 0.5, 0.9))
    assert lines[0].strip() == "Quality against the share of weights gone"
    assert lines[-2].split("  ")[0] == "accuracy, %"
    assert lines[-2].endswith("weights gone, %")
    assert lines[-3].split() == ["50", "55", "60", "65", "70", "75", "80", "85", "90"]


def test_a_metric_that_is_no_share_is_drawn_as_it_is() -> None:
    records = grid("magnitude", 0.5, 0.9)
    for record, value in zip(records, (3.5, 4.5), strict=True):
        record["data"] = record["data"] | {"deciding": "bits_per_byte"}
        record["metrics"]["quality/bits_per_byte"] = {"value": value}
    lines = drawn(records)
    assert lines[-2].startswith("bits_per_byte, bits")
    assert lines[-1] == "o magnitude"  # of a dense model nothing is known
    assert place(lines, "o")[0][1] > place(lines, "o")[1][1]  # more bits are worse, and higher


def test_what_else_differs_makes_curves_of_its_own() -> None:
    records = [
        make_pruned("pruner=magnitude", f"sparsity={one}", f"method.finetune={finetune}", gone=one)
        for finetune in (0, 1)
        for one in (0.5, 0.9)
    ]
    legend = drawn(records, 200)[-1]
    assert legend.startswith("o magnitude method.finetune=0.0   x magnitude method.finetune=1.0   ┈ dense")


@pytest.mark.parametrize(
    "records",
    [
        [],
        grid("magnitude", 0.5),
        grid("magnitude", 0.5) + grid("random", 0.5),
        [*grid("magnitude", 0.5), *({**one, "status": "killed"} for one in grid("magnitude", 0.9))],
        [*grid("magnitude", 0.5), *({**one, "data": {"deciding": "loss"}} for one in grid("magnitude", 0.9))],
        [*grid("magnitude", 0.5), *({**one, "metrics": {}} for one in grid("magnitude", 0.9))],
    ],
)
def test_where_there_is_no_curve_there_is_none(records: list[dict[str, Any]]) -> None:
    assert quality_curve(records, 80) is None


@pytest.mark.parametrize("columns", ["40", "200"])
@pytest.mark.parametrize("width", [60, 100])
def test_it_is_plain_text_of_the_size_asked_for(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", "10")
    lines = drawn(grid("magnitude", 0.5, 0.9), width, 15)
    assert len(lines) == 15 + 1
    assert max(map(len, lines)) == width
    assert "\x1b" not in "".join(lines)


def test_quality_that_never_changes_can_be_drawn() -> None:
    assert len(place(drawn(grid("magnitude", 0.5, 0.9, drop=0.0)), "o")) == 2


def test_nothing_is_left_of_one_plot_in_the_next() -> None:
    first = drawn(grid("magnitude", 0.5, 0.9))
    drawn(grid("random", 0.1, 0.2, drop=3.0), 60, 30)
    plotext.figure.title("of another")
    assert drawn(grid("magnitude", 0.5, 0.9)) == first
