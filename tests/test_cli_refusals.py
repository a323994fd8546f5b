"""Commands that must be refused: the exit code, one line that helps, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from conftest import QUIET, Cli, FinishedRun, job_of
from thrifty.cli import run_command, thrifty_command
from thrifty.errors import BadConfiguration, BadData, ThriftyError, Unsupported
from thrifty.execution.worker import _run
from thrifty.record import config_hash
from thrifty.stop import StopRequest

TABLE = "a,b,label\n" + "".join(f"{n},{n % 7},{'yes' if n % 3 else 'no'}\n" for n in range(60))
BUILT_IN = ("task=tabular",)


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def refused_in_worker(*overrides: str) -> ThriftyError:
    """The error of the gates that a worker holds a run to, in this process; nothing may be left in the store."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(ThriftyError) as caught:
        _run(job_of([*overrides, *QUIET], "results/runs"), lambda event: None, lambda: None, StopRequest())
    assert sorted(Path().rglob("*")) == before
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("optimiser=adam", "no key 'optimiser'; did you mean 'optimizer'"),
        ("learning_rate=1", "no key 'learning_rate'"),
        ("dropout=0.1", "did you mean 'regularizer.dropout'"),
        (
            "optimizer=adm",
            "choose one of adam, adamw, sgd, momentum, nesterov, adagrad, rmsprop, lion, muon, adafactor; did you mean 'adam'",
        ),
        ("device=tpu", "must be one of auto, cpu, cuda, mps"),
        ("seed=1.5", "must be whole number"),
        ("optimizer.lr=fast", "must be number, above 0"),
        ("optimizer.lr=0", "must be above 0"),
        ("optimizer.lr=-1", "must be above 0"),
        ("optimizer.lr=inf", "optimizer.lr=inf: must be"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be"),
        ("regularizer.dropout=1", "must be at least 0, below 1"),
        ("batch_size=0", "must be at least 1 or full"),
        ("batch_size=many", "must be at least 1 or full"),
        ("seed=-1", "must be at least 0"),
        ("task=tabular architecture=gpt", "do not go together"),
        ("optimizer=adam optimizer.momentum=0.9", "has no such key; it belongs to optimizer=sgd"),
        ("optimizer=adam,sgd", "gives several values; add -m"),
        ("~optimizer", "cannot be removed"),
        ("model", "is not an override"),
        ("-m seed=interval(0,1)", "a grid needs values"),
        ("-m optimizer=adam,zzz", "optimizer=zzz: there is no such optimizer"),
        ("--multirnu seed=1", "--multirnu: there is no such flag; did you mean '--multirun'"),
        ("--config-dir=.", "--config-dir: there is no such flag"),
        ("-p optimizer", "add --cfg job"),
        ("--cfg bogus", "invalid choice: 'bogus' (choose from"),
        ("--cfg job optimizer.lrr=1", "did you mean 'optimizer.lr'"),
        ("-m --cfg job", "not allowed with"),
    ],
)
def test_a_bad_configuration_is_refused(arguments: str, message: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        run_command(arguments.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(Path().iterdir()) == []


def _write(name: str, content: str | bytes) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    ("make", "overrides", "error", "message"),
    [
        (None, (*BUILT_IN, "batch_size=400"), BadConfiguration, "batch_size=400: the training split has 342 examples"),
        (None, (*BUILT_IN, "checkpoint=none-such"), BadConfiguration, "none-such: no such run"),
        (None, (*BUILT_IN, "precision=fp16", "device=cpu"), Unsupported, "bf16"),
        (None, ("task=tabular", "task.path=none.csv", "task.target=label"), BadData, "none.csv: there is no such file"),
        (lambda: _write("t.csv", ""), ("task.target=label",), BadData, "is empty"),
        (lambda: _write("t.csv", "a,label\n"), ("task.target=label",), BadData, "t.csv"),
        (lambda: _write("t.csv", TABLE), (), BadConfiguration, "needs task.target"),
        (lambda: _write("t.csv", TABLE), ("task.target=labl",), BadData, "did you mean 'label'"),
        (lambda: _write("t.csv", TABLE.replace("\n7,", "\n-1,")), ("task.target=label", "task.log1p=[a]"), BadData,
         "column 'a', row 9 of the file"),
        (lambda: _write("t.csv", TABLE.replace("no", "yes")), ("task.target=label",), BadData, "'yes' in every row"),
        (lambda: _write("t.csv", TABLE[:60]), ("task.target=label",), BadData, "at least 20"),
        (lambda: _write("t.csv", "a,b,label\n" + "1,,yes\n2,,no\n" * 30), ("task.target=label",), BadData, "column 'b'"),
        (lambda: _write("t.csv", bytes(range(256)) * 40), ("task.target=label",), BadData, "binary"),
        (lambda: Path("t.csv").mkdir(), ("task.target=label",), BadData, "t.csv"),
        (lambda: _write("t.csv", TABLE), ("task.target=label", "batch_size=37"), BadConfiguration, "has 36 examples"),
    ],
)  # fmt: skip
def test_unusable_tables_are_refused(
    make: Callable[[], None] | None, overrides: tuple[str, ...], error: type[ThriftyError], message: str
) -> None:
    if make is not None:
        make()
        overrides = ("task=tabular", "task.path=t.csv", *overrides)
    found = refused_in_worker(*overrides)
    assert type(found) is error
    assert message in str(found)


@pytest.mark.parametrize(
    ("make", "overrides", "message"),
    [
        (lambda: _write("t.txt", "too short"), (), "t.txt: has 9 bytes"),
        (lambda: _write("t.txt", ""), (), "t.txt"),
        (lambda: _write("t.txt", bytes(range(256)) * 40), (), "t.txt"),
        (lambda: None, (), "t.txt"),
        (lambda: Path("t.txt").mkdir(), (), "t.txt"),
    ],
)
def test_unusable_texts_are_refused(make: Callable[[], None], overrides: tuple[str, ...], message: str) -> None:
    make()
    found = refused_in_worker("task.path=t.txt", *overrides)
    assert type(found) is BadData
    assert message in str(found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_a_device_that_is_not_here_is_unsupported() -> None:
    found = refused_in_worker(*BUILT_IN, "device=cuda")
    assert type(found) is Unsupported
    assert "device=cuda: is not usable here" in str(found)
    assert "cpu" in str(found)


def test_a_store_that_is_a_file_is_refused() -> None:
    Path("taken").write_text("mine")
    job = job_of([*BUILT_IN, *QUIET, "store=taken"], "taken/runs")
    with pytest.raises(BadData, match=r"store=taken/runs: cannot be written.*another store=DIR"):
        _run(job, lambda event: None, lambda: None, StopRequest())
    assert Path("taken").read_text() == "mine"


def test_a_checkpoint_of_another_shape_is_refused(tabular_run: FinishedRun) -> None:
    found = refused_in_worker(*BUILT_IN, f"checkpoint={tabular_run.path}", "model=tiny")
    assert type(found) is BadConfiguration
    assert "give the same architecture, model and data" in str(found)


def test_processes_end_with_the_code_of_the_gate_and_leave_nothing(cli: Cli) -> None:
    """Each class once by a real process; the unit tests above hold the messages."""
    (cli.cwd / "short.txt").write_text("too short")
    assert "did you mean 'optimizer'" in cli.refused("run", "optimiser=adam", code=2)
    assert "bf16" in cli.refused("run", "task=tabular", "precision=fp16", "device=cpu", code=3)
    assert "has 9 bytes" in cli.refused("run", "task.path=short.txt", code=4)
    assert "names 0" not in cli.refused("show", "none-such", code=2)
    assert [one.name for one in cli.cwd.iterdir()] == ["short.txt"]
    assert list(cli.home.iterdir()) == []


def test_debugging_shows_where_a_refusal_comes_from(cli: Cli) -> None:
    done = cli("run", "task=tabular", "task.path=none.csv", "task.target=x", code=4, THRIFTY_DEBUG="1")
    assert "Traceback" in done.stderr
    assert "table_reading.py" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: none.csv")
    assert "Traceback" in cli("run", "seed=x", code=2, THRIFTY_DEBUG="1").stderr


# Files of a run that were altered.


def predict(run: Path) -> None:
    thrifty_command(["predict", str(run), "line", "--length", "1"])


def _edit(path: Path, change: Callable[[dict], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _flip_a_byte(run: Path) -> None:
    data = bytearray((run / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (run / "model.safetensors").write_bytes(data)


def _set(key: str, value: object) -> Callable[[dict], None]:
    return lambda record: record.__setitem__(key, value)


def _another_configuration(record: dict) -> None:
    record["config"]["seed"] = 7
    record["config_hash"] = config_hash(record["config"])


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (_flip_a_byte, "altered or truncated (its hash is not the one in model.json)"),
        (lambda run: os.truncate(run / "model.safetensors", 1000), "altered or truncated"),
        (lambda run: (run / "model.safetensors").unlink(), "there is no such file"),
        (lambda run: (run / "model.json").unlink(), "model.json: cannot be read"),
        (lambda run: (run / "model.json").write_text("{"), "is not JSON"),
        (lambda run: _edit(run / "model.json", _set("config_hash", "0" * 64)), "model.json: the file was altered"),
        (lambda run: _edit(run / "model.json", lambda one: one.pop("weights")), "was altered"),
        (
            lambda run: _edit(run / "model.json", lambda one: one["architecture"].update(depth=2)),
            "model.json: the file was altered",
        ),
        (lambda run: _edit(run / "result.json", _another_configuration), "mixes two runs"),
        (lambda run: _edit(run / "result.json", lambda one: one["config"].update(seed=7)), "not the one it was written with"),
        (lambda run: _edit(run / "result.json", _set("config", None)), "its config is None"),
        (lambda run: _edit(run / "result.json", _set("attempt", [])), "its attempt is []"),
    ],
)
def test_altered_files_of_a_run_are_refused(
    text_run: FinishedRun, store: Path, alter: Callable[[Path], None], message: str
) -> None:
    run = text_run.copied_to(store)
    predict(run)
    alter(run)
    with pytest.raises(BadData) as caught:
        predict(run)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_model_of_another_run_is_refused(text_run: FinishedRun, tabular_run: FinishedRun, store: Path) -> None:
    run = text_run.copied_to(store)
    for name in ("model.json", "model.safetensors"):
        shutil.copy(tabular_run.path / name, run / name)
    with pytest.raises(BadData, match="mixes two runs"):
        predict(run)


def test_an_altered_weights_file_ends_a_process_with_4(cli: Cli, text_run: FinishedRun) -> None:
    _flip_a_byte(text_run.copied_to(cli.store))
    assert "its hash is not the one" in cli.refused("predict", text_run.path.name, "line", code=4)


def test_a_list_goes_on_where_a_record_was_altered(
    text_run: FinishedRun, tabular_run: FinishedRun, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tabular_run.copied_to(store)
    for alter in (_set("config", None), _set("attempt", []), _set("metrics", None), _set("status", 3), _set("data", None)):
        run = text_run.copied_to(store)
        _edit(run / "result.json", alter)
        assert thrifty_command(["list", "--store", str(store)]) == 0
        found = capsys.readouterr()
        assert "tabular" not in found.err
        assert tabular_run.path.name.split("-")[0] in found.out
        assert f"left out: {run}" in found.err
        shutil.rmtree(run)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that cannot be written to, by root neither."""
    where = tmp_path / "read only"
    where.mkdir()
    if os.geteuid() == 0:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)], capture_output=True).returncode:
            pytest.skip("root may write everywhere, and may not mount here")
        try:
            yield where
        finally:
            subprocess.run(["umount", str(where)], check=True)
    else:
        yield where
        where.chmod(0o755)


def _close(where: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", str(where)], check=True)
    else:
        for one in (where, *where.rglob("*")):
            one.chmod(0o555 if one.is_dir() else 0o444)


def test_a_read_only_store_is_refused_for_writing_and_read(
    read_only: Path, text_run: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = text_run.copied_to(read_only)
    _edit(run / "result.json", _set("status", "running"))
    _close(read_only)
    job = job_of([*BUILT_IN, *QUIET, f"store={read_only}"], str(read_only / "runs"))
    with pytest.raises(BadData, match=r"cannot be written|MiB free"):
        _run(job, lambda event: None, lambda: None, StopRequest())
    thrifty_command(["list", "--json", "--store", str(read_only)])
    assert json.loads(capsys.readouterr().out)["status"] == "running"  # the lock cannot be asked


def test_what_a_terminal_would_act_on_is_shown_instead() -> None:
    assert str(BadData("names 'evil\nERROR: \x1b[31m\u202e' and 'gr\u00fc\u00df \u4e2d'")) == (
        r"names 'evil\nERROR: \x1b[31m\u202e' and 'grüß 中'"
    )
