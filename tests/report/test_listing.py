"""Which records a filter takes, and records side by side."""

from __future__ import annotations

import io
from typing import Any

import pytest
from example_record import make_record
from rich.console import Console

from thrifty.errors import BadConfiguration
from thrifty.report.listing import chosen, comparison_table, differing, matches, value_at
from thrifty.report.terminal import show


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", "ok"),
        ("seed", 7),
        ("optimizer", "sgd"),
        ("optimizer.lr", 0.5),
        ("task.validation", 0.15),
        ("model", "nano"),
        ("tags", ["a", "b"]),
        ("quality/accuracy", 0.9211),
        ("train/time_to_target_s", None),
    ],
)
def test_a_key_is_found_where_the_record_has_it(key: str, value: Any) -> None:
    record = make_record("optimizer=sgd", "optimizer.lr=0.5", "seed=7", "tags=[a,b]", seed=7)
    assert value_at(record, key) == value


@pytest.mark.parametrize("key", ["optimiser", "optimizer.betaz", "model.size", "quality/bits_per_byte", ""])
def test_a_key_that_is_not_there_is_a_key_error(key: str) -> None:
    with pytest.raises((KeyError, TypeError)):
        value_at(make_record(), key)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("optimizer=adam", True),
        ("optimizer=sgd,adam", True),
        ("optimizer=sgd", False),
        ("optimizer.lr=3e-3", True),
        ("optimizer.lr=0.0030", True),
        ("optimizer.lr=0.3", False),
        ("tags=b", True),
        ("tags=c", False),
        ("name=null", True),
        ("logger.artifact=true", True),
        ("logger.artifact=1", False),
        ("train/steps=107", True),
        ("status=ok,killed", True),
        ("optimizer.no_such=1", False),
    ],
)
def test_a_filter_is_met_by_a_value_as_people_write_it(text: str, met: bool) -> None:
    assert matches(make_record("optimizer=adam", "optimizer.lr=0.003", "tags=[a,b]"), [text]) is met


def test_every_filter_must_be_met() -> None:
    records = [make_record(f"seed={seed}", f"optimizer={name}", seed=seed) for seed in (1, 2) for name in ("sgd", "adam")]
    assert [value_at(one, "optimizer") for one in chosen(records, ["seed=2"])] == ["sgd", "adam"]
    assert chosen(records, ["seed=2", "optimizer=sgd"]) == [records[2]]
    assert chosen(records, []) == records


def test_a_key_of_some_records_only_leaves_the_others_out() -> None:
    records = [make_record("optimizer=sgd"), make_record("optimizer=adam")]
    assert chosen(records, ["optimizer.eps=1e-8"]) == [records[1]]


@pytest.mark.parametrize(
    ("text", "told"), [("optimzer=adam", "did you mean 'optimizer'"), ("adam", "is not a filter; write key=value")]
)
def test_a_filter_that_can_meet_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadConfiguration, match=told):
        chosen([make_record()], [text])


def table(records: list[dict[str, Any]], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    show(comparison_table(records, width), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_table_shows_what_differs() -> None:
    lines = table([make_record("seed=1"), make_record("seed=2", "batch_size=full")], 150)
    assert lines[0].split() == ["run", "batch_size", "seed", "accuracy", "training", "latency", "file", "memory"]
    assert lines[2].split() == [
        "20260102T030405678Z",
        "full",
        "2",
        "92.11",
        "%",
        "0.2",
        "s",
        "0.0587",
        "ms",
        "0.05527",
        "MiB",
        "415.8",
        "MiB",
    ]


def test_any_key_that_was_given_and_differs_is_shown() -> None:
    given = [make_record("task.log1p=all", "store=a", "measure.seconds=1"), make_record("task.log1p=none", "store=b")]
    heading = table([*given, make_record("regularizer.dropout=0.1")], 150)[0]
    assert heading.split()[:4] == ["run", "task.log1p", "regularizer.dropout", "accuracy"]


def test_the_learning_rate_is_shown_where_the_optimizer_does_not_tell_it() -> None:
    rates = [make_record(f"optimizer.lr={rate}") for rate in ("0.1", "0.2")]
    assert "optimizer.lr" in table(rates, 150)[0]
    heading = table([make_record("optimizer=sgd"), make_record("optimizer=adam")], 150)[0]
    assert "optimizer" in heading
    assert "optimizer.lr" not in heading


@pytest.mark.parametrize("width", [60, 70, 80, 100, 160])
def test_the_table_fits_and_drops_costs_from_the_last(width: int) -> None:
    lines = table([make_record("seed=1"), make_record("seed=2", status="killed")], width)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("run                  seed  status  accuracy")
    costs = lines[0].split()[4:]
    assert costs == ["training", "latency", "file", "memory"][: len(costs)]
    assert "…" not in "".join(lines)


def test_a_cost_that_just_fits_is_kept() -> None:
    records = [make_record("seed=1"), make_record("seed=2")]
    widest = max(map(len, table(records, 500)))
    assert "memory" in table(records, widest)[0]
    assert "memory" not in table(records, widest - 1)[0]


def test_runs_of_different_tasks_share_no_name_for_quality() -> None:
    other = make_record(data={"deciding": "bits_per_byte"}, metrics={"quality/bits_per_byte": {"value": 3.5}})
    lines = table([make_record(), other, make_record(status="killed", data={}, metrics={}, seed=3)], 160)
    assert "quality" in lines[0]
    assert ("92.11 %" in lines[1], "3.5 bits" in lines[2]) == (True, True)


def test_what_a_time_cap_has_cut_short_is_marked_and_told() -> None:
    whole, cut = make_record(seed=1), make_record("seed=2", seed=2)
    assert "*" not in "".join(table([whole], 160))
    cut["flags"] = ["budget_reached"]
    page = table([whole, cut], 160)
    assert [line.count("*") for line in page if "%" in line] == [0, 1]
    assert "model cut short" in page[-1]


def test_what_follows_from_another_key_is_shown_where_it_does_not() -> None:
    text, mlp, vit = (
        make_record(*typed)
        for typed in (("task=text",), ("task=image", "architecture=mlp"), ("task=image", "architecture=vit"))
    )
    assert "architecture" not in differing([text, mlp])
    assert {"task", "architecture"} <= set(differing([text, mlp, vit]))
