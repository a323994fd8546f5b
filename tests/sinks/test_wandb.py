"""What a run leaves in wandb: read back from its file, and taken in by a server."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from wandb_server import wandb_server

from conftest import Cli, FinishedRun
from thrifty.config.compose import compose, plain
from thrifty.errors import Unsupported
from thrifty.events import HistoryRow, Started
from thrifty.metrics import CURVES
from thrifty.sinks.wandb import WandbSink

KEY = "0123456789" * 4
SHORT = ("run", "task=tabular", "budget.steps=5", "measure=none")


def wandb_file(run: Path) -> Path:
    (found,) = (run / "wandb").glob("offline-run-*/*.wandb")
    return found


def written(run: Path) -> list[dict[str, Any]]:
    """What the run's file holds, by wandb's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(wandb_file(run))]
    environment = {**os.environ, "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_type(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one[kind] for one in records if one["type"] == kind]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["item"] for one in of_type(records, "history")]


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for one in of_type(records, "summary"):
        merged |= one.get("update", {})
    return merged


@pytest.fixture(scope="module")
def in_wandb(tabular_run: FinishedRun) -> list[dict[str, Any]]:
    return written(tabular_run.path)


def test_every_metric_of_the_record_is_in_the_summary(tabular_run: FinishedRun, in_wandb: list[dict[str, Any]]) -> None:
    shown, metrics = summary(in_wandb), tabular_run.record["metrics"]
    assert len(metrics) > 20
    assert any(entry["value"] is None for entry in metrics.values())
    for name, entry in metrics.items():
        expected = f"missing: {entry['reason']}" if entry["value"] is None else pytest.approx(entry["value"])
        assert shown[name] == expected, name
        for bound in ("low", "high"):
            if entry.get(bound) is None:
                assert f"{name}.{bound}" not in shown
            else:
                assert shown[f"{name}.{bound}"] == pytest.approx(entry[bound])
    assert (shown["status"], shown["flags"]) == ("ok", tabular_run.record["flags"])


def test_the_configuration_is_there_whole_and_nested(tabular_run: FinishedRun, in_wandb: list[dict[str, Any]]) -> None:
    (run,) = of_type(in_wandb, "run")
    config = {key: value for key, value in run["config"]["update"].items() if key != "_wandb"}
    assert config == {**tabular_run.record["config"], "id": tabular_run.record["id"]}
    assert config["optimizer"]["name"] == "adam"


def test_the_run_is_named_sorted_and_labelled(tabular_run: FinishedRun, in_wandb: list[dict[str, Any]]) -> None:
    (run,) = of_type(in_wandb, "run")
    assert (run["display_name"], run["job_type"], run["project"]) == (tabular_run.record["id"], "train", "thrifty")
    assert "run_group" not in run
    assert set(run["tags"]) == {
        "task=tabular", "architecture=mlp", "model=nano", "method=train", "optimizer=adam", "schedule=cosine", "precision=fp32",
    }  # fmt: skip


def test_the_history_is_that_of_history_csv(tabular_run: FinishedRun, in_wandb: list[dict[str, Any]]) -> None:
    rows = list(csv.DictReader((tabular_run.path / "history.csv").read_text().splitlines()))
    points = [{name: value for name, value in row.items() if not name.startswith("_")} for row in history(in_wandb)]
    assert len(points) == len(rows) == 40
    for point, row in zip(points, rows, strict=True):
        expected = {"train/seconds" if name == "seconds" else name: float(value) for name, value in row.items() if value}
        assert point == pytest.approx(expected)


def test_every_curve_is_declared_and_drawn_over_steps(in_wandb: list[dict[str, Any]]) -> None:
    names = {name for row in history(in_wandb) for name in row if not name.startswith("_")}
    assert {"train/loss", "train/lr", "train/seconds", "validation/accuracy", "step"} <= names
    assert names - {"step"} <= set(CURVES)
    axes = {one.get("glob_name"): one.get("step_metric") for one in of_type(in_wandb, "metric")}
    assert (axes["train/*"], axes["validation/*"]) == ("step", "step")


def test_the_weights_are_an_artifact(tabular_run: FinishedRun, in_wandb: list[dict[str, Any]]) -> None:
    (artifact,) = of_type(in_wandb, "artifact")
    assert (artifact["name"], artifact["type"]) == (f"model-{tabular_run.record['config_hash'][:12]}", "model")
    files = {one["path"]: Path(one["local_path"]) for one in artifact["manifest"]["contents"]}
    assert set(files) == {"model.safetensors", "model.json"}
    for name, file in files.items():
        assert file.read_bytes() == (tabular_run.path / name).read_bytes()
        assert tabular_run.path in file.parents


def test_the_run_ends_with_its_exit_code(in_wandb: list[dict[str, Any]]) -> None:
    assert [one.get("exit_code", 0) for one in of_type(in_wandb, "exit")] == [0]


def test_nothing_is_left_under_home(tabular_run: FinishedRun) -> None:
    assert list(tabular_run.home.rglob("*")) == []


def test_a_grid_s_runs_share_a_group_and_nothing_else(cli: Cli) -> None:
    cli("run", "-m", *SHORT[1:], "seed=1,2", "tags=[mine]", "name=ours")
    groups = set()
    runs = [run for run in cli.runs() if run.name != "wandb"]
    assert len(runs) == 2
    for run in runs:
        (told,) = of_type(written(run), "run")
        groups.add(told["run_group"])
        assert (told["display_name"], "mine" in told["tags"]) == ("ours", True)
        files = of_type(written(run), "artifact")[0]["manifest"]["contents"]
        assert all(run in Path(one["local_path"]).parents for one in files)
    assert groups == {runs[0].parent.name}
    assert list(cli.home.rglob("*")) == []


def started(path: Path) -> Started:
    return Started(str(path), path.name, plain(compose(["task=tabular"])), [])


@pytest.mark.parametrize("before", [None, "/mine"])
def test_disabled_writes_nothing_and_leaves_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
        if before is not None:
            monkeypatch.setenv(name, before)
    config = compose(["task=tabular", "logger.mode=disabled"]).logger
    sink = WandbSink(config)  # pyright: ignore[reportArgumentType]
    (tmp_path / "run").mkdir()
    sink.handle(started(tmp_path / "run"))
    sink.handle(HistoryRow(1, 0.5, {"train/loss": 1.0}))
    sink.close()
    assert list((tmp_path / "run").iterdir()) == []
    assert [os.environ.get(name) for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")] == [before, before]


@pytest.mark.slow
def test_a_killed_command_line_leaves_the_history_so_far(cli: Cli) -> None:
    overrides = ("task=tabular", "budget.steps=1000000", "budget.epochs=null", "budget.seconds=null", "train.steps_per_call=1")
    process = subprocess.Popen(
        [sys.executable, "-m", "thrifty", "run", *overrides, "train.validations=100000", "measure=none"],
        cwd=cli.cwd, env=cli.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (found := [*cli.store.glob("runs/*/wandb/offline-run-*/*.wandb")]) or found[0].stat().st_size < 30_000:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)  # looks at a file of another process: there is nothing to wait on
        time.sleep(3)  # rows that are held back for longer than a second show as lost
        killed = time.time()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (run,) = cli.runs()
    rows = history(written(run))
    assert killed - rows[-1]["_timestamp"] < 2.5
    assert [row["_step"] for row in rows] == list(range(len(rows)))


def test_online_without_a_key_is_refused_before_anything_is_written(cli: Cli) -> None:
    message = cli.refused(*SHORT, "logger.mode=online", code=3)
    assert message.startswith("logger.mode=online: needs WANDB_API_KEY")
    assert not cli.store.exists()
    assert list(cli.home.rglob("*")) == []


def test_a_key_that_cannot_be_one_is_refused(cli: Cli) -> None:
    done = cli(*SHORT, "logger.mode=online", code=3, WANDB_API_KEY="short")
    assert "WANDB_API_KEY invalid: API key must have 40+ characters" in done.stderr
    assert not cli.store.exists()


def test_a_key_in_netrc_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    config: Any = compose(["task=tabular", "logger.mode=online"]).logger
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(Unsupported, match="needs WANDB_API_KEY"):
        WandbSink(config)
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    WandbSink(config)


def test_online_uploads_the_run(cli: Cli) -> None:
    with wandb_server() as server:
        cli(*SHORT, "logger.mode=online", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
    record, (run,) = cli.record(), cli.runs()
    assert server.run["displayName"] == record["id"]
    assert [row["step"] for row in server.history] == [1, 2, 3, 4, 5]
    accuracy = record["metrics"]["quality/accuracy"]
    assert server.summary["quality/accuracy"] == pytest.approx(accuracy["value"])
    assert server.summary["quality/accuracy.low"] == pytest.approx(accuracy["low"])
    assert server.exit_code == 0
    assert server.artifacts == [f"model-{record['config_hash'][:12]}"]
    for name in ("model.safetensors", "model.json"):
        assert server.files[name] == (run / name).read_bytes()


@pytest.mark.slow
def test_a_server_that_does_not_answer_leaves_the_run_offline(cli: Cli) -> None:
    with wandb_server() as server:
        gone = server.url
    done = cli(*SHORT, "logger.mode=online", WANDB_API_KEY=KEY, WANDB_BASE_URL=gone)
    assert "it is written offline: `wandb sync " in done.stderr
    (run,) = cli.runs()
    assert summary(written(run))["status"] == "ok"


def test_where_the_saving_went_is_a_table_and_in_the_summary(cli: Cli) -> None:
    typed = ("task=tabular", "budget.steps=20", "measure=none", "threads=1", "method=prune", "method.sensitivity=[0.5]")
    cli("run", *typed)
    (run,) = (cli.store / "runs").glob("2*")
    record = json.loads((run / "result.json").read_text())
    rows = written(run)
    found = summary(rows)
    assert found["waterfall/size/parameters"] == 1
    assert found["waterfall/quality/accuracy"] == pytest.approx(record["waterfall"][-1]["ratio"])
    tables = list(run.glob("wandb/offline-run-*/files/media/table/*.json"))
    by_name = {path.name.split("_")[0]: json.loads(path.read_text()) for path in tables}
    assert set(by_name) == {"waterfall", "sensitivity"}
    assert by_name["waterfall"]["columns"][:3] == ["metric", "dense", "compressed"]
    assert [row[0] for row in by_name["waterfall"]["data"]] == [one["metric"] for one in record["waterfall"]]
    (job,) = {one["job_type"] for one in of_type(rows, "run")}
    assert job == "prune"


@pytest.mark.slow
def test_a_sweep_leaves_a_run_of_its_own_in_the_group_of_its_runs(cli: Cli) -> None:
    cli("run", "-m", *SHORT[1:], "seed=1,2", "optimizer.lr=1e-3,1e18", code=6)
    (sweep,) = (cli.store / "sweeps").iterdir()
    records = written(sweep)
    (run,) = of_type(records, "run")
    assert (run["run_group"], run["job_type"], run["display_name"]) == (sweep.name, "sweep", sweep.name)
    assert run["config"]["update"]["overrides"] == [*SHORT[1:], "seed=1,2", "optimizer.lr=1e-3,1e18"]
    shown = summary(records)
    assert {key: value for key, value in shown.items() if key.startswith("runs/") or key == "runs"} == {
        "runs": 4, "runs/ok": 2, "runs/diverged": 2,
    }  # fmt: skip
    (table,) = (sweep / "wandb").glob("offline-run-*/files/media/table/runs_*.table.json")
    content = json.loads(table.read_text())
    ids = [row[content["columns"].index("id")] for row in content["data"]]
    assert sorted(ids) == sorted(one.name for one in sweep.iterdir() if one.name != "wandb")
    assert {one["display_name"] for id in ids for one in of_type(written(sweep / id), "run")} == set(ids)
    assert all(one["run_group"] == sweep.name for id in ids for one in of_type(written(sweep / id), "run"))
    listed = cli("list", "--json").stdout.splitlines()
    assert len(listed) == 4, "what is of the sweep is no run"
