"""Grids: which experiments, in which order, and that one that fails does not end the others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import QUIET, Cli
from thrifty.config.compose import compose
from thrifty.config.space import space_of
from thrifty.errors import BadConfiguration
from thrifty.sweeps.directory import held
from thrifty.sweeps.executors import _shared_modules


def expand(arguments: list[str]) -> list[list[str]]:
    return space_of(arguments).grid()


def test_the_last_key_changes_fastest() -> None:
    assert expand(["optimizer=sgd,adam", "task=tabular", "seed=1,2"]) == [
        ["optimizer=sgd", "task=tabular", "seed=1"],
        ["optimizer=sgd", "task=tabular", "seed=2"],
        ["optimizer=adam", "task=tabular", "seed=1"],
        ["optimizer=adam", "task=tabular", "seed=2"],
    ]


@pytest.mark.parametrize(
    ("given", "grid"),
    [
        ([], [[]]),
        (["seed=1"], [["seed=1"]]),
        (["seed=range(0,3)"], [["seed=0"], ["seed=1"], ["seed=2"]]),
        (["seed=choice(3,1)"], [["seed=3"], ["seed=1"]]),
        (["name='a,b','c d'"], [["name='a,b'"], ["name='c d'"]]),
        (["tags=[a,b],[c]"], [["tags=[a,b]"], ["tags=[c]"]]),
        (["++seed=1,2"], [["++seed=1"], ["++seed=2"]]),
    ],
)
def test_values_stay_as_they_were_written(given: list[str], grid: list[list[str]]) -> None:
    assert expand(given) == grid


@pytest.mark.parametrize("given", ["optimizer.lr=interval(0,1)", "seed", "seed=1,"])
def test_what_a_grid_cannot_walk_is_refused(given: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        expand([given])
    assert "\n" not in str(caught.value)
    assert given in str(caught.value)


def test_code_that_every_experiment_needs_is_imported_once_and_no_other() -> None:
    table, text = (compose([f"task={name}"]) for name in ("tabular", "text"))
    assert _shared_modules([table, table]) == ["thrifty.tasks.tabular"]
    assert _shared_modules([table, text]) == []


def arms(cli: Cli) -> list[tuple[str, int, str]]:
    records = [json.loads((run / "result.json").read_text()) for run in cli.runs()]
    return [(record["config"]["optimizer"]["name"], record["seed"], record["status"]) for record in records]


def test_a_grid_of_two_by_two_makes_four_records_and_a_table(cli: Cli) -> None:
    done = cli("run", "-m", "task=tabular", "optimizer=sgd,adam", "seed=1,2", "budget.steps=3", *QUIET)
    assert arms(cli) == [("sgd", 1, "ok"), ("sgd", 2, "ok"), ("adam", 1, "ok"), ("adam", 2, "ok")]
    (sweep,) = (cli.store / "sweeps").iterdir()
    assert re.fullmatch(r"\d{8}T\d{9}Z-grid", sweep.name)
    assert [one.name for one in cli.store.iterdir()] == ["sweeps"]
    assert [one.name for one in cli.cwd.iterdir()] == ["results"]
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["run", "optimizer", "seed"]
    assert [tuple(line.split()[1:3]) for line in lines[1:5]] == [("sgd", "1"), ("sgd", "2"), ("adam", "1"), ("adam", "2")]
    assert lines[-1] == f"4 records in results/sweeps/{sweep.name}"
    order = re.findall(r"^(\d)/4 .* optimizer=(\w+) seed=(\d)", done.stderr, re.MULTILINE)
    assert order == [("1", "sgd", "1"), ("2", "sgd", "2"), ("3", "adam", "1"), ("4", "adam", "2")]
    listed = cli("list", "optimizer=adam", "seed=2", "--json").stdout.splitlines()
    assert [json.loads(one)["config"]["optimizer"]["name"] for one in listed] == ["adam"]


@pytest.mark.slow
def test_loading_is_measured_once_for_models_of_one_shape_and_the_others_say_where(cli: Cli) -> None:
    sizes = ("model=nano,tiny", "seed=1,2", "budget.steps=3", "measure.seconds=0.01", "logger=none")
    cli("run", "-m", "task=tabular", *sizes)
    first, second, third, fourth = (json.loads((run / "result.json").read_text()) for run in cli.runs())
    loads = [one["metrics"]["infer/load_s"]["value"] for one in (first, second, third, fourth)]
    assert loads[0] == loads[1]
    assert loads[2] == loads[3] != loads[0], "another size is another shape"
    assert not any("same shape" in sentence for sentence in first["data"]["about"])
    for one, other in ((second, first), (fourth, third)):
        assert f"loading and memory were measured on a model of the same shape, in {other['id']}" in one["data"]["about"]
    (sweep,) = (cli.store / "sweeps").iterdir()
    assert not any(one.name.startswith(".") for one in sweep.iterdir()), "nothing is left of what they shared"


def test_a_grid_in_which_all_are_refused_leaves_nothing(cli: Cli) -> None:
    cli("run", "-m", "task=tabular", "task.path=missing.csv", "seed=1,2", *QUIET, code=4)
    assert not cli.store.exists()


def test_an_arm_that_fails_does_not_end_the_others(cli: Cli) -> None:
    """One is refused, one diverges; the grid's exit code is the first of theirs."""
    rows = "".join(f"{number},{number % 7},{number * 0.5}\n" for number in range(60))
    (cli.cwd / "good.csv").write_text(f"a,b,y\n{rows}")
    common = ("task=tabular", "task.target=y", "task.kind=regression", "optimizer=sgd", "schedule=constant", "budget.steps=30")
    done = cli("run", "-m", "task.path=missing.csv,good.csv", "optimizer.lr=1e18,0.01", *common, *QUIET, code=4)
    records = [json.loads((run / "result.json").read_text()) for run in cli.runs()]
    assert [(record["status"], record["config"]["optimizer"]["lr"]) for record in records] == [("diverged", 1e18), ("ok", 0.01)]
    assert "2 records in results/sweeps/" in done.stdout
    assert "2 refused, 0 not started" in done.stdout
    assert done.stderr.count("refused: missing.csv: there is no such file") == 2
    assert "Traceback" not in done.stderr


def test_a_wrong_value_costs_no_run(cli: Cli) -> None:
    message = cli.refused("run", "-m", "task=tabular", "optimizer=adam,adm", code=2)
    assert "optimizer=adm: there is no such optimizer" in message
    assert list(Path(cli.cwd).iterdir()) == []


def test_what_is_of_a_sweep_needs_many_experiments(cli: Cli) -> None:
    for given in ("sweep.resume=there", "sweeps=learning_rate"):
        message = cli.refused("run", given, code=2)
        assert f"{given}: is of many experiments, not of one; add -m" in message


def test_what_is_of_a_search_does_not_go_with_a_grid(cli: Cli) -> None:
    for given in ("sweep.n_trials=5", "sweep.stopper=median"):
        message = cli.refused("run", "-m", "task=tabular", "seed=1,2", given, code=2)
        assert f"{given.partition('=')[0]}: goes with a search, sweeps=NAME" in message
    assert "no such setting of a sweep; did you mean 'n_trials'" in cli.refused("run", "-m", "sweep.n_trails=5", code=2)
    assert "no such sweep in" in cli.refused("run", "-m", "task=tabular", "seed=1,2", "sweep.resume=gone", code=2)


def test_a_grid_goes_on_where_it_ended_and_runs_nothing_twice(cli: Cli) -> None:
    typed = ("task=tabular", "optimizer=sgd,adam", "budget.steps=3", *QUIET)
    cli("run", "-m", *typed, "seed=1")
    (sweep,) = (cli.store / "sweeps").iterdir()
    before = {run.name: (run / "result.json").read_bytes() for run in cli.runs()}
    cut_off = cli.runs()[1]
    record = json.loads((cut_off / "result.json").read_text())
    record |= {"status": "killed", "reason": "the process is gone and left no record"}
    (cut_off / "result.json").write_text(json.dumps(record))
    done = cli("run", "-m", *typed, "seed=1,2", f"sweep.resume={sweep.name[:18]}")
    assert arms(cli) == [("sgd", 1, "ok"), ("adam", 1, "ok"), ("sgd", 2, "ok"), ("adam", 2, "ok")]
    assert [run.parent for run in cli.runs()] == [sweep] * 4
    finished = cli.runs()[0]
    assert (finished / "result.json").read_bytes() == before[finished.name], "what was finished is as it was"
    assert done.stderr.count("finished before: ") == 1
    again = json.loads((cut_off / "result.json").read_text())
    assert again["attempt"]["token"] != record["attempt"]["token"]
    lines = done.stdout.splitlines()
    assert [tuple(line.split()[1:3]) for line in lines[1:5]] == [("sgd", "1"), ("sgd", "2"), ("adam", "1"), ("adam", "2")]


def test_two_processes_do_not_run_one_sweep(tmp_path: Path) -> None:
    with (
        held(tmp_path / "not there yet"),
        held(tmp_path),
        pytest.raises(BadConfiguration, match="another process is running this sweep"),
        held(tmp_path),
    ):
        raise AssertionError
    with held(tmp_path):
        pass
