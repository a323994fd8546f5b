"""A run as a newcomer reads it, whatever became of it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from example_pruned import make_pruned
from example_record import make_record
from rich.console import Console

from thrifty.metrics import METRICS, measured, missing
from thrifty.record import STATUSES
from thrifty.report.summary import summary
from thrifty.report.terminal import show


def text(record: dict[str, Any], width: int = 150, everything: bool = False, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal)
    show(summary(record, "results/runs/the-run", width, everything), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def everything_measured() -> dict[str, Any]:
    """Every metric there is, with as many figures as they come with."""
    return make_record(metrics={name: measured(0.0012345, 0.0012345, 0.0012345) for name in METRICS})


def test_the_whole_of_a_small_record() -> None:
    metrics = {"quality/accuracy": measured(0.9211, 0.8567, 0.9579), "train/steps": measured(107)}
    assert text(make_record("seed=3") | {"metrics": metrics}).splitlines()[:8] == [
        "",
        "tabular · mlp nano · train   adam, lr 0.01, batch 32, fp32 on cpu, seed 3",
        "                      value  95% interval      what it is",
        "How good (test split, touched once)",
        "  quality/accuracy  92.11 %  85.67 to 95.79 %  share of examples classified right",
        "Cost of training",
        "  train/steps           107                    optimiser steps made",
        "",
    ]


def test_the_engine_is_named_where_it_is_not_pytorch_itself() -> None:
    assert "on cpu, predicting by compile, seed 0" in text(make_record("engine=compile"))
    early = make_record()
    early["config"]["engine"] = "eager"  # as records had it when there was no other
    assert "predicting by" not in text(early) + text(make_record())


def test_splits_have_sections_of_their_own() -> None:
    lines = text(make_record()).splitlines()
    headings = [line for line in lines if line and not line.startswith((" ", "tabular", "record", "again", "What"))]
    assert headings == [
        "How good (test split, touched once)",
        "On the validation split",
        "Cost of training",
        "Cost of prediction",
        "Size",
    ]
    validation = lines.index("On the validation split")
    assert lines[validation - 1].startswith("  quality/gap")
    assert lines[validation + 1].startswith("  validation/accuracy")


def test_nothing_wraps_at_150_columns() -> None:
    lines = text(everything_measured()).splitlines()
    assert max(len(line) for line in lines if not line.startswith("  python")) <= 150
    for name, metric in METRICS.items():
        assert any(line.startswith(f"  {name} ") and line.endswith(metric.meaning) for line in lines), name


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_terminal_gets_the_figures_without_the_explanations(width: int) -> None:
    lines = text(make_record(), width).splitlines()
    rows = [line for line in lines if line.startswith(("  quality", "  train", "  infer", "  size"))]
    assert max(map(len, rows)) <= width
    assert "share of examples classified right" not in "".join(lines)


@pytest.mark.parametrize("width", [80, 160])
def test_no_line_of_a_file_ends_in_blanks(width: int) -> None:
    assert all(line == line.rstrip() for line in text(make_record(), width, everything=True).splitlines())


@pytest.mark.parametrize("width", [80, 160])
def test_show_gives_the_reason_of_what_was_not_measured(width: int) -> None:
    assert "no target was given; target=VALUE sets one" in text(make_record(), width, everything=True)
    assert "no target was given" not in text(make_record(), width)


def test_a_reason_may_hold_anything_and_may_be_absent() -> None:
    record = make_record(metrics={"train/mfu_pct": missing("[bold]a[/] [0]"), "quality/loss": {"value": None, "n": 1}})
    shown = text(record, everything=True)
    assert "- train/mfu_pct: [bold]a[/] [0]\n" in shown
    assert "- quality/loss: no reason was recorded\n" in shown


def test_what_shares_a_reason_shares_a_line() -> None:
    why = missing("the run made no step")
    metrics = {
        "train/steps": measured(0),
        "train/time_s": measured(0.0),
        "train/written_mib": measured(2.0),
        "train/step_ms": why,
    }
    record = make_record(metrics=metrics | {"train/mfu_pct": why})
    record["metrics"] = metrics | {"train/mfu_pct": why}
    shown = text(record, everything=True)
    assert "- train/step_ms, train/mfu_pct: the run made no step\n" in shown
    assert "train/written_mib" in shown
    assert "train/time_s" not in shown, "zeros of a training that was not are no news"
    assert "Not measured" not in text(record)


def test_a_metric_we_do_not_know_is_shown_all_the_same() -> None:
    assert "train/of_tomorrow" in text(make_record(metrics={"train/of_tomorrow": measured(3)}))


def test_the_deciding_metric_stands_out_on_a_terminal() -> None:
    shown = text(make_record(), terminal=True)
    (line,) = [line for line in shown.splitlines() if "quality/accuracy" in line]
    assert "\x1b[1;32m" in line


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_reads_well(status: str) -> None:
    shown = text(make_record(status=status, reason=None if status in ("ok", "running") else "the reason"))
    assert "None" not in shown
    assert (f"{status}: the reason" in shown) == (status not in ("ok", "running"))
    assert ("running: not finished yet" in shown) == (status == "running")
    assert "results/runs/the-run" in shown


@pytest.mark.parametrize("status", STATUSES)
def test_a_run_that_never_read_its_data_reads_well_too(status: str) -> None:
    record = make_record(status=status, reason="the reason", flags=["budget_reached", "of_tomorrow"]) | {
        "metrics": {},
        "data": {},
    }
    assert "of_tomorrow" in text(record, everything=True)
    assert "95% interval" not in text(record)


def test_a_run_cut_short_says_how_short() -> None:
    record = make_record("budget.steps=300", flags=["budget_reached"], metrics={"train/steps": measured(9)})
    assert "training met its time cap after 9 of 300 steps: speed, memory and size are what they are" in text(record)


def test_a_profile_shows_its_costliest_operations() -> None:
    operations = [
        {"name": "aten::mm", "calls": 12, "self_ms": 34.567, "share": 0.621},
        {"name": "training step: between operations", "calls": 3, "self_ms": 0.01234, "share": 0.05},
    ]
    lines = text(make_record() | {"profile": operations}).splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("Costliest operations"))
    assert lines[heading + 1].split() == ["aten::mm", "62.1", "%", "34.6", "ms", "12", "calls"]
    assert lines[heading + 2].split()[-5:] == ["%", "0.0123", "ms", "3", "calls"]
    assert "Costliest" not in text(make_record())


def test_what_spoilt_a_measurement_is_told_with_its_numbers() -> None:
    flags = ["busy_machine", "stolen_time", "canary_drift", "swapping", "throttled"]
    seen = {
        "others_share": 0.234,
        "stolen_share": 0.021,
        "canary_before": {"value": 0.0010, "low": 0.0009, "high": 0.0011, "n": 15},
        "canary_after": {"value": 0.0012, "low": 0.0012, "high": 0.0013, "n": 15},
    }
    shown = text(make_record(flags=flags, conditions=seen))
    assert "! busy_machine: other processes took 23 % of the cores' time" in shown
    assert "! stolen_time: the host gave 2 % of the cores' time" in shown
    assert "! canary_drift: the machine's pace changed by +20 %" in shown
    assert shown.count("see the record") == 0


@pytest.mark.parametrize("conditions", [{}, {"canary_before": {"value": 0.001}, "canary_after": None, "others_share": None}])
def test_a_flag_without_its_numbers_reads_well_too(conditions: dict[str, Any]) -> None:
    shown = text(make_record(flags=["busy_machine", "canary_drift"], conditions=conditions))
    assert "other processes took some of the cores' time" in shown
    assert "None" not in shown


def test_a_study_and_a_search_follow_the_waterfall() -> None:
    level = {"layer": "body.0", "weights": 64, "sparsity": 0.5, "value": 0.9, "difference": 0.0, "low": -0.1, "high": 0.1}
    tried = {"sparsity": 0.5, "loss": 0.0, "low": -0.1, "high": 0.1, "certified": True, "n": 114}
    record = make_pruned("sparsity=0.5", sensitivity=[level], search=[tried])
    shown = text(record)
    headings = ["Where the saving went", "What each layer costs", "Search for the largest sparsity", "record  results/runs"]
    places = [shown.index(one) for one in headings]
    assert places == sorted(places)
    plain = text(make_pruned("sparsity=0.5"))
    assert [one in plain for one in headings] == [True, False, False, True]
