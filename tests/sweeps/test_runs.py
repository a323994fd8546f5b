"""A finished run counts for a later sweep where it would come to the same, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import FinishedRun
from thrifty.config.compose import compose
from thrifty.store import read_record
from thrifty.sweeps.runs import Runs


@pytest.fixture
def earlier(tabular_run: FinishedRun, tmp_path: Path) -> Path:
    return tabular_run.copied_to(tmp_path)


def found(earlier: Path, cores: int | None = None, store: bool = True) -> Path | None:
    record = json.loads((earlier / "result.json").read_text())
    runs = Runs(
        earlier.parents[1] / "sweeps" / "mine", earlier.parents[1] if store else None, cores or record["environment"]["cores"]
    )
    outcome = runs.finished(compose(record["overrides"]))
    return None if outcome is None else outcome.path


def altered(earlier: Path, change: str) -> None:
    record = json.loads((earlier / "result.json").read_text())
    exec(change, {"record": record})
    (earlier / "result.json").write_text(json.dumps(record))


def test_one_of_another_sweep_counts(earlier: Path) -> None:
    assert found(earlier) == earlier


def test_it_does_not_where_that_is_not_wanted(earlier: Path) -> None:
    assert found(earlier, store=False) is None


def test_nor_with_another_number_of_cores(earlier: Path) -> None:
    assert found(earlier, cores=read_record(earlier)["environment"]["cores"] + 1) is None


@pytest.mark.parametrize(
    "change",
    [
        "record['status'] = 'killed'",
        "record['status'] = 'unsupported'",
        "record['environment']['training_code'] = 'other'",
        "record['environment']['host'] = 'other'",
        "record['environment']['versions']['torch'] = '1.0'",
        "record['data']['stamp'] = 'other'",
    ],
)
def test_nor_where_it_might_come_to_something_else(earlier: Path, change: str) -> None:
    altered(earlier, change)
    assert found(earlier) is None


def test_one_of_the_sweep_itself_that_was_cut_off_goes_on_instead(earlier: Path, tabular_run: FinishedRun) -> None:
    store = earlier.parents[1]
    own = tabular_run.copied_to(store / "x").rename(store / "sweeps-own")
    sweep = store / "sweeps" / "mine"
    sweep.mkdir(parents=True)
    own = own.rename(sweep / earlier.name)
    altered(own, "record['status'] = 'preempted'")
    record = read_record(own)
    runs = Runs(sweep, store, record["environment"]["cores"])
    config = compose(record["overrides"])
    assert runs.finished(config) is None
    assert runs.cut_off(config) == own


def test_one_that_was_found_hopeless_is_not_run_again_by_its_own_sweep_and_may_be_by_another(
    earlier: Path, tabular_run: FinishedRun
) -> None:
    altered(earlier, "record.update(status='killed', flags=['hopeless'])")
    assert found(earlier) is None
    record = read_record(earlier)
    own = Runs(earlier.parent, None, record["environment"]["cores"])
    outcome = own.finished(compose(record["overrides"]))
    assert outcome is not None
    assert (outcome.path, outcome.exit_code) == (earlier, 0)
    assert own.cut_off(compose(record["overrides"])) is None
