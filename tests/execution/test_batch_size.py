"""batch_size=auto: the arithmetic of the choice, the processes that try, and what becomes of those that die."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import batch_size_stand_ins as stand_ins
import pytest

from conftest import QUIET, Cli
from thrifty.config.compose import compose
from thrifty.errors import BadConfiguration
from thrifty.events import Event, Preparing
from thrifty.execution import batch_size
from thrifty.execution.batch_size import BatchSize, Tried, fastest, find_batch_size, goes_on
from thrifty.methods.requirements import batch_size_for

DOES_NOT_FIT = "does not fit into memory"


def tried(*rates: float | None) -> list[Tried]:
    return [Tried(2**place, rate) for place, rate in enumerate(rates)]


@pytest.mark.parametrize(
    ("rates", "size"),
    [
        ((100, 200, 400), 4),
        ((100, 200, 400, 410), 4),  # 2.5 % more is not worth half of an epoch's steps
        ((100, 200, 400, 413), 8),
        ((100, 200, 400, 300), 4),
        ((100, 200, None), 2),
        ((100,), 1),
        ((None,), None),
        ((), None),
    ],
)
def test_the_smallest_of_those_as_good_as_the_fastest_is_taken(rates: tuple[float | None, ...], size: int | None) -> None:
    assert fastest(tried(*rates)) == size


@pytest.mark.parametrize(
    ("rates", "spent_s", "on"),
    [
        ((100,), 1, True),
        ((100, 100), 1, True),
        ((100, 101, 102), 1, False),
        ((100, 101, 104), 1, True),
        ((100, 104, 101), 1, True),
        ((100, 200, 190, 180), 1, False),
        ((100, 200), 31, False),
        ((100, None), 1, False),
    ],
)
def test_it_doubles_while_that_makes_training_faster(rates: tuple[float | None, ...], spent_s: float, on: bool) -> None:
    assert goes_on(tried(*rates), spent_s) == on


def found(serve: batch_size.Serve | None = None, *overrides: str) -> tuple[BatchSize, list[Event]]:
    events: list[Event] = []
    return find_batch_size(
        compose(["task=tabular", "batch_size=auto", *overrides]), ["batch_size"], events.append, serve
    ), events


def test_one_whose_process_is_killed_is_not_taken() -> None:
    one, events = found(stand_ins.killed_at_eight)
    assert one.size == 4
    assert "auto took 4 (1: 100, 2: 200, 4: 400 examples a second; 8: the process that tried it died of SIGKILL" in one.about
    assert events == [Preparing("finding the fastest batch size that fits")]


def test_what_does_not_fit_alone_is_not_taken() -> None:
    assert found(stand_ins.four_only_among_others)[0].size == 2


def test_where_nothing_fits_the_run_is_refused_with_the_reason() -> None:
    one, _ = found(stand_ins.nothing_fits)
    assert one == BatchSize(None, DOES_NOT_FIT)
    config = compose(["task=tabular", "batch_size=auto"])

    class Data:
        sizes = {"train": 10}

    with pytest.raises(
        BadConfiguration, match=r"^batch_size=auto: found none \(does not fit into memory\); give batch_size=N$"
    ):
        batch_size_for(config, Data(), (), one)  # pyright: ignore[reportArgumentType]


def test_one_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "_SECONDS", 2.0)
    one, _ = found(stand_ins.silent)
    assert one.size == 2
    assert "4: it took too long" in one.about
    assert not multiprocessing.active_children()


def test_sizes_are_tried_by_training_up_to_the_training_split() -> None:
    one, _ = found(None, "train.accumulate=2")
    assert one.size is not None
    assert one.about.startswith(f"batch_size=auto took {one.size} (2: ")  # no fewer than the parts of a batch
    assert one.size <= 341


def test_data_that_cannot_be_read_is_told_by_the_run(tmp_path: Path) -> None:
    one, _ = found(None, f"task.path={tmp_path / 'gone.csv'}", "task.target=y")
    assert one.size is None
    assert "gone.csv" in one.about


def test_a_run_takes_what_was_found_and_says_so(cli: Cli) -> None:
    cli("run", "task=tabular", "batch_size=auto", "budget.steps=5", *QUIET)
    record = cli.record()
    assert record["config"]["batch_size"] == "auto"
    size = record["data"]["batch_size"]
    assert isinstance(size, int)
    assert any(one.startswith(f"batch_size=auto took {size} (") for one in record["data"]["about"])


@pytest.mark.slow
def test_data_that_cannot_be_read_is_refused_as_ever(cli: Cli) -> None:
    said = cli.refused("run", "task=tabular", "batch_size=auto", "task.path=gone.csv", "task.target=y", code=4)
    assert said.startswith("gone.csv: ")
