"""The command line where all is well: what a run leaves and prints, and the commands that read it."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Cli, FinishedRun
from thrifty import __version__, cli
from thrifty.cli import run_command, thrifty_command
from thrifty.config.registry import CHOICES
from thrifty.errors import BadConfiguration, BadData

FILES = {
    "result.json",
    "config.yaml",
    "overrides.yaml",
    "samples.json",
    "history.csv",
    "model.safetensors",
    "model.json",
    "run.log",
}
FIELDS = ["schema", "id", "status", "reason", "config", "overrides", "command", "config_hash", "attempt", "environment",
          "started", "finished", "seed", "parents", "data", "conditions", "metrics", "flags"]  # fmt: skip
HIDDEN = {".lock"}


@pytest.fixture(params=["tabular_run", "text_run"])
def run(request: pytest.FixtureRequest) -> FinishedRun:
    finished: FinishedRun = request.getfixturevalue(request.param)
    return finished


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Rows of the built-in table without their answer, with a column that the model does not know."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True).data.head(7).copy()
    data.insert(0, "patient, by name", [f'n"{number}' for number in range(7)])
    data.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def test_a_run_leaves_the_files_of_the_contract_and_nothing_else(run: FinishedRun) -> None:
    with_wandb = run.record["config"]["logger"]["name"] == "wandb"
    left = {one.name for one in run.path.iterdir()}
    assert left == FILES | HIDDEN | ({"wandb"} if with_wandb else set())
    assert [one.name for one in (run.store / "runs").iterdir()] == [run.path.name]
    assert [one.name for one in run.store.iterdir()] == ["runs"]
    kept = {"results", "corpus.txt"}
    assert {one.name for one in run.store.parent.iterdir()} <= kept


def test_the_directory_is_named_for_what_was_run(run: FinishedRun) -> None:
    record = run.record
    task, architecture = (record["config"][group]["name"] for group in ("task", "architecture"))
    assert re.fullmatch(rf"\d{{8}}T\d{{9}}Z-{task}-{architecture}-nano-train-{record['config_hash'][:12]}", run.path.name)
    assert record["id"] == run.path.name


def test_the_record_has_the_fields_of_the_contract(run: FinishedRun) -> None:
    record = run.record
    assert list(record) == FIELDS
    assert (record["schema"], record["status"], record["reason"], record["seed"], record["parents"]) == (1, "ok", None, 0, [])
    assert set(record["attempt"]) == {"token", "host", "pid"}
    wanted = {
        "host",
        "platform",
        "cpu",
        "cores",
        "memory_mib",
        "gpu",
        "driver",
        "python",
        "versions",
        "commit",
        "dirty",
        "threads",
    }
    assert wanted <= set(record["environment"])
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(stamp, record["started"])
    assert re.fullmatch(stamp, record["finished"])
    assert record["started"] < record["finished"]
    for name, entry in record["metrics"].items():
        assert set(entry) == ({"value", "reason"} if entry["value"] is None else {"value", "low", "high", "n"}), name


def test_the_summary_names_the_record_the_command_and_what_to_try(run: FinishedRun) -> None:
    record = run.record
    lines = run.stdout.splitlines()
    assert f"record  results/runs/{run.path.name}" in lines
    assert f"again   {record['command']}" in lines
    tried = [line.strip() for line in lines[lines.index("What to try next") + 1 :]]
    commands = [shlex.split(line) for line in tried if line.startswith(("python run.py ", "thrifty "))]
    assert len(commands) == 3
    assert commands[-1][:3] == ["thrifty", "predict", run.path.name]
    assert f"results/runs/{run.path.name}" in run.stderr
    assert "Traceback" not in run.stderr


def test_what_is_advised_is_allowed(run: FinishedRun) -> None:
    from thrifty.config.compose import compose
    from thrifty.report.advice import next_steps

    for command, _ in next_steps(run.record):
        words = shlex.split(command)
        if words[0] == "python":
            compose(words[2:])


def test_the_command_of_a_record_runs_the_same_again(cli: Cli, text_run: FinishedRun) -> None:
    first = text_run.record
    python, script, *overrides = shlex.split(first["command"])
    assert (python, script) == ("python", "run.py")
    shutil.copy(Path(__file__).parents[1] / "run.py", cli.cwd)
    done = subprocess.run(
        [sys.executable, script, *overrides], cwd=cli.cwd, env=cli.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    again = cli.record()
    assert again["config_hash"] == first["config_hash"]
    assert again["overrides"] == first["overrides"]
    assert again["data"]["sha256"] == first["data"]["sha256"]
    assert again["metrics"]["quality/loss"] == first["metrics"]["quality/loss"]


def test_list_has_a_line_for_a_run_and_filters_by_any_key(run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*filters: str) -> list[str]:
        assert thrifty_command(["list", *filters, "--store", str(run.store)]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith(run.path.name.split("-")[0])]

    task, lr = run.record["config"]["task"]["name"], run.record["config"]["optimizer"]["lr"]
    assert len(listed()) == 1
    keys = [f"task={task}", "status=ok", "seed=0", f"optimizer.lr={lr}", f"id={run.path.name}", "checkpoint=null", "tags=a"]
    assert [len(listed(key)) for key in keys] == [1, 1, 1, 1, 1, 1, 0]
    assert len(listed(*keys[:-1])) == 1
    assert len(listed("task=tabular,text", "seed=3,0")) == 1
    assert len(listed("task=tabular,text", "seed=3,4")) == 0


def test_list_shows_the_latest_and_whole_records(
    text_run: FinishedRun, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for number in range(3):
        copy = text_run.copied_to(store)
        record = text_run.record | {"id": f"2026010{number + 1}{copy.name[8:]}"}
        (copy / "result.json").write_text(json.dumps(record))
        names.append(copy.rename(copy.with_name(record["id"])).name)
    thrifty_command(["list", "--json", "--store", str(store)])
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == names
    thrifty_command(["list", "--json", "--last", "2", "--store", str(store)])
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == names[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimiser=sgd"], "optimiser: no run here has such a key or metric; did you mean 'optimizer'"),
        (["optimizer.lrr=1"], "did you mean 'optimizer.lr'"),
        (["sgd"], "write key=value"),
        (["--last", "0"], "at least 1"),
        (["--last", "x"], "invalid int value: 'x'"),
    ],
)
def test_list_refuses_what_it_cannot_mean(text_run: FinishedRun, arguments: list[str], message: str) -> None:
    with pytest.raises(BadConfiguration, match=re.escape(message)):
        thrifty_command(["list", *arguments, "--store", str(text_run.store)])


def test_list_of_nothing_says_how_to_begin(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert thrifty_command(["list", "optimizer=sgd", "--store", str(store)]) == 0
    assert f"no runs in {store} that match; `python run.py` makes one" in capsys.readouterr().err


def test_list_leaves_out_a_record_that_was_altered(
    text_run: FinishedRun, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = text_run.copied_to(store)
    (copy / "result.json").write_text((copy / "result.json").read_text()[:-100])
    assert thrifty_command(["list", "--store", str(store)]) == 0
    assert "left out: " in capsys.readouterr().err


def test_show_finds_a_run_by_id_part_and_directory(run: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for given in (run.path.name, run.path.name.split("-")[0], str(run.path)):
        assert thrifty_command(["show", given, "--store", str(run.store)]) == 0
        shown.append(capsys.readouterr().out.replace(str(run.store), "results"))
    assert shown[0] == shown[1] == shown[2]
    assert "quality/loss" in shown[0]
    for name, entry in run.record["metrics"].items():
        assert name in shown[0]
        if entry["value"] is None:
            assert entry["reason"][:20] in shown[0]
    assert thrifty_command(["show", run.path.name, "--json", "--store", str(run.store)]) == 0
    assert json.loads(capsys.readouterr().out) == run.record


def test_predict_keeps_rows_and_columns_of_a_table(cli: Cli, tabular_run: FinishedRun, table: Path) -> None:
    done = cli("predict", str(tabular_run.path), str(table))
    given, found = (list(csv.reader(io.StringIO(text))) for text in (table.read_text(), done.stdout))
    assert found[0] == [*given[0], "prediction", "probability"]
    assert [row[:-2] for row in found[1:]] == given[1:]
    assert {row[-2] for row in found[1:]} <= {"benign", "malignant"}
    assert all(0.5 <= float(row[-1]) <= 1 for row in found[1:])


def test_predict_writes_a_file_whatever_the_batch(
    tabular_run: FinishedRun, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["predict", str(tabular_run.path), str(table)]
    thrifty_command(common)
    printed = capsys.readouterr().out
    thrifty_command([*common, "-o", str(tmp_path / "out.csv"), "--batch-size", "2"])
    assert "wrote 7 predictions to" in capsys.readouterr().out
    whole, parts = (list(csv.reader(io.StringIO(one))) for one in (printed, (tmp_path / "out.csv").read_text()))
    assert [row[:-1] for row in parts] == [row[:-1] for row in whole]
    assert [float(row[-1]) for row in parts[1:]] == pytest.approx([float(row[-1]) for row in whole[1:]], rel=1e-5)


def test_predict_never_replaces_its_input_nor_what_is_no_file(
    tabular_run: FinishedRun, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["predict", str(tabular_run.path), str(table)]
    before = table.read_bytes()
    (tmp_path / "link.csv").symlink_to(table)
    for output in (table, tmp_path / "link.csv"):
        with pytest.raises(BadConfiguration, match="is the input itself"):
            thrifty_command([*common, "-o", str(output)])
    assert table.read_bytes() == before
    with pytest.raises(BadConfiguration, match="in a folder that exists"):  # before anything is read
        thrifty_command(["predict", str(tabular_run.path), "there-is-none.csv", "-o", str(tmp_path / "none" / "out.csv")])
    thrifty_command(common)
    printed = capsys.readouterr().out
    os.mkfifo(pipe := tmp_path / "pipe")
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    thrifty_command([*common, "-o", str(pipe)])
    assert os.read(reading, 2**16).decode() == printed
    os.close(reading)
    assert pipe.is_fifo()
    (tmp_path / "other.csv").symlink_to(tmp_path / "target.csv")
    thrifty_command([*common, "-o", str(tmp_path / "other.csv")])
    assert (tmp_path / "other.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text() == printed


def test_predict_looks_for_its_input_before_it_loads_the_model(tabular_run: FinishedRun) -> None:
    with pytest.raises(BadData, match=r"^none\.csv: there is no such file; give the path"):
        thrifty_command(["predict", str(tabular_run.path), "none.csv", "--processes", "2"])


def test_predict_continues_a_text(
    text_run: FinishedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def continued(prompt: str, *more: str) -> str:
        assert thrifty_command(["predict", str(text_run.path), prompt, "--length", "5", "--temperature", "0", *more]) == 0
        return capsys.readouterr().out

    from_prompt = continued("line 7")
    assert from_prompt.startswith("line 7")
    (tmp_path / "prompt.txt").write_text("line 7")
    assert continued(str(tmp_path / "prompt.txt")) == from_prompt
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"line 7")))
    assert continued("-") == from_prompt
    assert "continuation (5 bytes)" in continued("line 7", "-o", str(tmp_path / "out.txt"))
    assert (tmp_path / "out.txt").read_text() == from_prompt.removesuffix("\n")


@pytest.mark.parametrize("option", ["--length=0", "--batch-size=0", "--temperature=-1", "--temperature=inf", "--seed=-1"])
def test_predict_refuses_options_out_of_range(text_run: FinishedRun, option: str) -> None:
    with pytest.raises(BadConfiguration, match=f"^{option.split('=')[0]} .*must be at least"):
        thrifty_command(["predict", str(text_run.path), "x", option])


@pytest.mark.parametrize("option", ["--processes=2000", "--threads=5000"])
def test_predict_refuses_more_than_any_machine_has(text_run: FinishedRun, option: str) -> None:
    with pytest.raises(BadConfiguration, match=f"^{option.replace('=', ' ')}: must be at most 1024"):
        thrifty_command(["predict", str(text_run.path), "x", option])


def test_keys_prints_every_key_or_those_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*arguments: str) -> list[str]:
        assert thrifty_command(["keys", *arguments]) == 0
        return [line.split(" = ")[0] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]

    every = printed()
    assert {"optimizer.lr", "task.path", "seed", "store"} <= set(every)
    part = printed("optimizer")
    assert set(part) < set(every)
    assert all("optimizer" in name for name in part)
    assert "optimizer.momentum" in printed("optimizer=sgd")
    assert "optimizer.momentum" not in printed("optimizer=adam")
    with pytest.raises(BadConfiguration, match=r"optimizer.lrr: no key.*'optimizer.lr'"):
        thrifty_command(["keys", "optimizer.lrr"])


def test_help_and_version_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    for arguments in (["--help"], ["-h"], ["model=small", "--help"]):
        assert run_command(arguments) == 0
        text = capsys.readouterr().out
        for names in CHOICES.values():
            assert all(name in text for name in names)
        assert "python run.py -m" in text
    for command in ("list", "show", "predict", "keys"):
        with pytest.raises(SystemExit, match="0"):
            thrifty_command([command, "--help"])
        assert "usage: thrifty " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("--cfg", "job", "-p", "optimizer", "optimizer=sgd"), "name: sgd"),
        (("optimizer=sgd", "-c", "job", "optimizer.momentum=0.5", "-p", "optimizer"), "momentum: 0.5"),
        (("--cfg=job", "seed=3"), "seed: 3"),
        (("--cfg", "hydra"), "output_subdir: null"),
        (("--info", "defaults", "optimizer=sgd"), "optimizer/sgd"),
        (("optimizer=sgd", "--info"), "Config search path"),
        (("--hydra-help",), "Hydra"),
    ],
)
def test_what_hydra_answers_leaves_nothing(cli: Cli, arguments: tuple[str, ...], printed: str) -> None:
    assert printed in cli("run", *arguments).stdout
    assert list(cli.cwd.iterdir()) == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("optimizer=", {f"optimizer={name}" for name in CHOICES["optimizer"]}),
        ("optimizer=sgd optimizer.mom", {"optimizer.momentum="}),
        ("tas", {"task.", "task="}),
    ],
)
def test_bash_completes_keys_and_choices(cli: Cli, typed: str, offered: set[str]) -> None:
    shutil.copy(Path(__file__).parents[1] / "run.py", cli.cwd)
    line = f"python run.py {typed}"
    # What bash does on Tab, by the function that the printed script defines.
    script = f"""
        eval "$(python run.py --shell-completion install=bash)"
        COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)} COMP_CWORD={len(line.split()) - 1}
        hydra_bash_completion
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    # The interpreter of the tests as `python`: by a script, as a link would lose its virtual environment.
    (cli.home / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (cli.home / "python").chmod(0o755)
    path = f"{cli.home}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=cli.cwd,
        env=cli.environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert set(done.stdout.split()) == offered, done.stderr
    assert [one.name for one in cli.cwd.iterdir()] == ["run.py"]


def test_the_head_of_a_list_is_no_error(cli: Cli, text_run: FinishedRun) -> None:
    """More than a pipe holds, and a reader that leaves after a line."""
    whole = (text_run.path / "result.json").read_text()
    for number in range(40):
        copy = cli.store / "runs" / f"2026010{number:03}{text_run.path.name[8:]}"
        copy.mkdir(parents=True)
        (copy / "result.json").write_text(whole)
    for options in (["--json"], []):
        process = cli.popen("list", *options)
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(60) == 0


def test_what_a_terminal_cannot_show_is_no_error(cli: Cli, text_run: FinishedRun) -> None:
    done = cli("show", str(text_run.path), PYTHONIOENCODING="ascii")
    assert "quality/loss" in done.stdout


def test_wandb_is_told_and_nothing_goes_to_the_home_directory(tabular_run: FinishedRun) -> None:
    (offline,) = (tabular_run.path / "wandb").glob("offline-run-*/run-*.wandb")
    assert offline.stat().st_size > 1000
    assert list(tabular_run.home.iterdir()) == []


def test_what_nobody_thought_of_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> int:
        raise PermissionError(13, "Permission denied", "/somebody/else's")

    monkeypatch.setattr(cli, "REASONS", {})  # the signals of this process stay its own
    monkeypatch.setattr(logging, "raiseExceptions", True)  # which it changes
    for debug, shown in (("0", False), ("1", True)):
        monkeypatch.setenv("THRIFTY_DEBUG", debug)
        with pytest.raises(SystemExit) as ended:
            cli._leave(fails)
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert said.splitlines()[-1].startswith("error: PermissionError: [Errno 13] Permission denied")
        assert said.endswith("; THRIFTY_DEBUG=1 shows where\n")
        assert ("Traceback" in said) == shown
