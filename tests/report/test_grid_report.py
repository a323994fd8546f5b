"""Which table a grid gets."""

from __future__ import annotations

from example_pruned import lines_of, make_pruned
from example_record import make_record

from thrifty.report.grid import grid_report

PRUNED = [make_pruned("pruner=magnitude", f"sparsity={one}", gone=one) for one in (0.5, 0.9)]


def test_pruned_models_are_held_against_their_dense_one_and_drawn_below() -> None:
    lines = lines_of([grid_report(PRUNED, 100)], 100)
    assert lines[1].startswith("dense ")
    assert lines[-1] == "o magnitude   ┈ dense: 98.00 %"
    plot = next(number for number, line in enumerate(lines) if "Quality against" in line)
    assert lines[plot - 1] == ""


def test_without_a_curve_the_table_stands_alone() -> None:
    lines = lines_of([grid_report([PRUNED[0], PRUNED[0]], 100)], 100)
    assert lines[1].startswith("dense ")
    assert "Quality against" not in "\n".join(lines)


def test_one_run_and_other_methods_have_the_table_of_costs() -> None:
    for records in ([PRUNED[0]], [PRUNED[0], make_record()], [make_record("optimizer=sgd"), make_record("optimizer=adam")]):
        lines = lines_of([grid_report(records, 150)], 150)
        assert lines[0].startswith("run ")
        assert len(lines) == 1 + len(records)


def test_seeds_are_told_together_below() -> None:
    lines = lines_of([grid_report([make_record("seed=1"), make_record("seed=2")], 150)], 150)
    assert lines[3:5] == ["", "over seeds: mean ± half of the 95% interval"]
    assert lines[6].split()[0] == "2"
