"""Searches from the command line: what is tried, what is kept, and what is refused before anything starts."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from conftest import QUIET, Cli
from thrifty.config.sweep_files import sweep_of
from thrifty.errors import BadConfiguration, BadData
from thrifty.store import read_record

COMMON = ("task=tabular", "budget.steps=5", *QUIET)
SEARCH = """
sweep:
  objectives: ["validation/loss: minimize"]
  n_trials: 4
overrides:
  - task=tabular
  - budget.steps=5
  - "optimizer.lr=tag(log, interval(1e-4, 1e-1))"
  - optimizer=adam,sgd
"""


@pytest.fixture
def file(cli: Cli) -> str:
    (cli.cwd / "mine.yaml").write_text(SEARCH)
    return "sweeps=mine.yaml"


def statuses(cli: Cli) -> list[str]:
    return [json.loads((run / "result.json").read_text())["status"] for run in cli.runs()]


def test_a_search_makes_its_trials_and_tells_the_best(cli: Cli, file: str) -> None:
    done = cli("run", "-m", file, *QUIET)
    assert statuses(cli) == ["ok"] * 4
    (sweep,) = (cli.store / "sweeps").iterdir()
    assert sweep.name.endswith("-mine")
    assert [run.parent for run in cli.runs()] == [sweep] * 4
    losses = {
        run.name: json.loads((run / "result.json").read_text())["metrics"]["validation/loss"]["value"] for run in cli.runs()
    }
    best = min(losses, key=lambda name: losses[name])
    command = json.loads((sweep / best / "result.json").read_text())["command"]
    lines = done.stdout.splitlines()
    assert lines[0] == "Best"
    assert f"again   {command}" in lines
    assert any(line.startswith(f"4 trials; in results/sweeps/{sweep.name}") for line in lines)
    assert done.stderr.count("/4  optimizer.lr=") == 4


def test_it_goes_on_to_the_total_and_runs_nothing_twice(cli: Cli, file: str) -> None:
    cli("run", "-m", file, *QUIET, "sweep.n_trials=2")
    (sweep,) = (cli.store / "sweeps").iterdir()
    before = {run.name: (run / "result.json").read_bytes() for run in cli.runs()}
    done = cli("run", "-m", file, *QUIET, "sweep.n_trials=3", f"sweep.resume={sweep.name}")
    assert len(cli.runs()) == 3
    assert all((sweep / name / "result.json").read_bytes() == content for name, content in before.items())
    assert done.stderr.count("optimizer.lr=") == 1
    again = cli("run", "-m", file, *QUIET, "sweep.n_trials=3", f"sweep.resume={sweep.name}")
    assert "3 trials; in" in again.stdout
    changed = cli.refused("run", "-m", file, *QUIET, "seed=1,2", f"sweep.resume={sweep.name}", code=2)
    assert "holds a search named" in changed
    assert "with other space" in changed


def test_a_trial_that_diverges_is_a_record_and_ends_nothing(cli: Cli, file: str) -> None:
    done = cli(
        "run", "-m", file, *QUIET, "optimizer=sgd", "optimizer.lr=1e18,0.01", "schedule=constant", "budget.steps=30",
        "sweep.sampler=brute_force",
    )  # fmt: skip
    assert sorted(statuses(cli)) == ["diverged", "ok"], "a space of two points has two trials, however many were asked for"
    assert "2 trials, 1 failed; in" in done.stdout
    assert "failed: diverged: " in done.stderr


@pytest.mark.slow
def test_hopeless_trials_are_records_and_not_run_again(cli: Cli, file: str) -> None:
    typed = ("run", "-m", file, *QUIET, "sweep.stopper=successive_halving", "sweep.spared=1", "budget.steps=40")
    typed += (
        "optimizer=adam",
        "schedule=constant",
        "optimizer.lr=0.01,1e-7,1e-8",
        "sweep.sampler=brute_force",
        "sweep.n_trials=3",
    )
    done = cli(*typed)
    (sweep,) = (cli.store / "sweeps").iterdir()
    stopped = [run.name for run in cli.runs() if "hopeless" in read_record(run)["flags"]]
    assert stopped
    for name in stopped:
        record = read_record(sweep / name)
        assert record["status"] == "killed"
        assert record["reason"].startswith("stopped by sweep.stopper=successive_halving at step ")
        assert (sweep / name / "model.safetensors").is_file()
    assert f"3 trials, {len(stopped)} stopped early; in" in done.stdout
    assert done.stderr.count("  stopped: by sweep.stopper=successive_halving at step ") == len(stopped)
    again = cli(*typed, f"sweep.resume={sweep}")
    assert len(cli.runs()) == 3
    assert f"3 trials, {len(stopped)} stopped early; in" in again.stdout


@pytest.mark.slow
def test_several_objectives_and_a_constraint(cli: Cli, file: str) -> None:
    asked = ("sweep.objectives=[validation/accuracy,size/parameters]", "sweep.constraints='size/parameters <= 20000'")
    done = cli("run", "-m", file, *QUIET, "model=nano,tiny", "optimizer.lr=0.01", *asked, "sweep.sampler=brute_force")
    assert done.stdout.startswith("Pareto set")
    assert "broke a constraint" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_search_that_is_killed_goes_on_and_has_every_configuration_once(cli: Cli, file: str, how: int) -> None:
    typed = ("run", "-m", file, *QUIET, "budget.steps=2000", "train.checkpoints=0.05")
    process = cli.popen(*typed)
    try:
        end = time.monotonic() + 60
        while len([run for run in cli.runs() if (run / "history.csv").is_file()]) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(how)
        process.wait(30)
    finally:
        process.kill()
        process.communicate()
    (sweep,) = (cli.store / "sweeps").iterdir()
    begun = [run.name for run in cli.runs()]
    assert len(begun) < 4, "it was killed on its way"
    end = time.monotonic() + 30
    while any(read_record(run)["status"] == "running" for run in cli.runs()) and time.monotonic() < end:
        time.sleep(0.1)  # a worker ends by itself once its parent is gone
    cli(*typed, f"sweep.resume={sweep.name}")
    records = [read_record(run) for run in cli.runs()]
    assert [one["status"] for one in records] == ["ok"] * 4
    assert len({one["config_hash"] for one in records}) == 4
    assert set(begun) <= {one["id"] for one in records}, "what was cut off went on in its own directory"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (("sweep.objectives=[quality/accuracy]",), "is of the test split"),
        (("sweep.objectives=[validation/acuracy]",), "did you mean 'validation/accuracy'"),
        (("sweep.objectives=[]",), "has no objective"),
        (("sweep.n_trials=null",), "would never end"),
        (("optimizer=adam", "optimizer.lr=0.1"), "nothing varies"),
        (("optimizer=adam,adm",), "there is no such optimizer"),
        (("optimizer.lr=interval(-1,1)",), "must be above 0"),
        (("sweep.sampler=tp",), "must be one of tpe"),
        (("sweep.resume=gone",), "no such sweep in"),
        (("sweep.sampler=cmaes", "sweep.objectives=[validation/loss,size/file_mib]"), "goes with one objective"),
        (("resume=there",), "give sweep.resume=DIR"),
        (
            ("sweep.stopper=median", "sweep.objectives=[infer/latency_ms]"),
            "is never reported while a trial of task=tabular trains",
        ),
        (("optimizer.lr=0.1", "optimizer=adam", "method=prune,quantize", "quantizer=int8_dynamic,int8"), "no such quantizer"),
        (("sweep.stopper=medien",), "must be one of none, median"),
    ],
)
def test_nonsense_is_refused_before_any_trial_starts(cli: Cli, file: str, typed: tuple[str, ...], message: str) -> None:
    assert message in cli.refused("run", "-m", file, *QUIET, *typed, code=2)
    assert not cli.store.exists()


def test_a_search_that_is_not_there_and_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        BadConfiguration, match=r"^sweeps=learning_rat: there is no such search; .* did you mean 'learning_rate'"
    ):
        sweep_of(["sweeps=learning_rat"])
    for content, message in {
        "a: [": "is not YAML",
        "- 1": "has to hold",
        "other: 1": "has to hold",
        "sweep: 3": "settings by name",
        "overrides: {a: 1}": "is a list",
    }.items():
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(BadData, match=message) as caught:
            sweep_of([f"sweeps={tmp_path / 'bad.yaml'}"])
        assert "\n" not in str(caught.value)
    with pytest.raises(BadData, match="cannot be read"):
        sweep_of([f"sweeps={tmp_path / 'none.yaml'}"])
    (tmp_path / "bad.yaml").write_text("sweep: {n_trails: 3}")
    with pytest.raises(
        BadConfiguration, match=r"sweep\.n_trails: there is no such setting of a sweep; did you mean 'n_trials'"
    ):
        sweep_of([f"sweeps={tmp_path / 'bad.yaml'}"])


def test_the_command_line_counts_more_than_the_file(cli: Cli) -> None:
    (cli.cwd / "mine.yaml").write_text(SEARCH)
    asked = sweep_of([f"sweeps={cli.cwd / 'mine.yaml'}", "seed=3", "sweep.n_trials=9"])
    assert asked.settings.n_trials == 9
    assert asked.settings.objectives == ["validation/loss: minimize"]
    assert asked.overrides[-1] == "seed=3"
    assert asked.overrides[0] == "task=tabular"


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_search_that_is_shipped_can_be_run(path: Path) -> None:
    from thrifty.config.compose import compose
    from thrifty.config.space import space_of
    from thrifty.sweeps.objectives import constraint_of, objective_of

    assert path.read_text().startswith("# "), "a header says what it asks and costs"
    asked = sweep_of([f"sweeps={path.stem}"])
    space = space_of(asked.overrides)
    assert space.dimensions
    assert [*map(objective_of, asked.settings.objectives)]
    assert all(map(constraint_of, asked.settings.constraints))
    first = {
        one.key: one.values[0] if one.values else repr(one.numbers.low) for one in space.dimensions if one.numbers or one.values
    }
    compose(space.point(first))
