"""`thrifty predict` with its levers: processes, threads, batch size and engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Cli, FinishedRun
from thrifty.cli import thrifty_command
from thrifty.config import registry
from thrifty.errors import BadConfiguration, BadData, OutOfMemory, ThriftyError, Unsupported
from thrifty.record import usable_cores


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Rows of the built-in table without their answer, one of them incomplete."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True).data.head(60).copy()
    data.iloc[4, 2] = None
    data.to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def test_processes_change_nothing_but_the_time(cli: Cli, tabular_run: FinishedRun, table: Path) -> None:
    common = ("predict", str(tabular_run.path), str(table), "--threads", "1", "--batch-size", "7")
    alone, together = cli(*common), cli(*common, "--processes", "2")
    assert together.stdout == alone.stdout
    assert len(together.stdout.splitlines()) == 61
    assert [one for one in together.stderr.splitlines() if "cores" not in one] == alone.stderr.splitlines()
    assert "1 of 60 rows left empty" in together.stderr
    assert list(cli.cwd.iterdir()) == []


def test_the_batch_size_that_was_found_is_told(cli: Cli, tabular_run: FinishedRun, table: Path) -> None:
    done = cli("predict", str(tabular_run.path), str(table), "--batch-size", "auto", "-o", str(cli.cwd / "out.csv"))
    assert done.stdout == f"wrote 59 predictions to {cli.cwd / 'out.csv'} (1 row left empty, for missing values)\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("--batch-size auto took ")
    assert len((cli.cwd / "out.csv").read_text().splitlines()) == 61


def test_nothing_is_left_of_what_fails(cli: Cli, tabular_run: FinishedRun, table: Path) -> None:
    copy = tabular_run.copied_to(cli.store)
    (copy / "model.safetensors").write_bytes(b"no weights")
    out = cli.cwd / "out.csv"
    why = cli.refused("predict", str(copy), str(table), "--processes", "2", "-o", str(out), code=4)
    assert "model.safetensors: the file was altered or truncated" in why
    assert [one.name for one in cli.cwd.iterdir()] == ["results"]


@pytest.mark.slow
def test_an_engine_that_exports_predicts_the_same(cli: Cli, tabular_run: FinishedRun, table: Path) -> None:
    for library in ("onnxruntime", "onnx", "onnxscript"):
        pytest.importorskip(library)
    copy = tabular_run.copied_to(cli.store)
    common = ("predict", str(copy), str(table), "--batch-size", "25")
    eager, other = cli(*common), cli(*common, "--engine", "onnxruntime", "--processes", "2")
    for first, second in zip(eager.stdout.splitlines()[1:], other.stdout.splitlines()[1:], strict=True):
        *one, chance = first.split(",")
        *another, other_chance = second.split(",")
        assert one == another
        assert (chance == other_chance == "") or float(chance) == pytest.approx(float(other_chance), rel=1e-4)
    assert [one.name for one in copy.glob("*.onnx")], "made once, and kept beside the run"
    (kept,) = copy.glob("*.example.npy")
    np.save(kept, np.ones((1, 30), dtype=np.float32))  # as an earlier version has left it, with its own file
    next(copy.glob("*.onnx.seal")).unlink()
    cli(*common, "--engine", "onnxruntime")
    assert np.load(kept).tolist() == torch.randn(1, 30, generator=torch.Generator().manual_seed(0)).tolist(), "nobody's data"


def test_more_threads_than_cores_are_told_of(cli: Cli, tabular_run: FinishedRun, table: Path) -> None:
    cores = usable_cores()
    done = cli("predict", str(tabular_run.path), str(table), "--threads", str(cores + 1), "-o", str(cli.cwd / "out.csv"))
    assert done.stderr.startswith(f"--processes 1 with {cores + 1} threads each: more than the {cores} cores")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes=0"], r"^--processes 0: must be at least 1"),
        (["--threads=0"], r"^--threads 0: must be at least 1"),
        (["--batch-size=-3"], r"^--batch-size -3: must be at least 1"),
        (["--batch-size=all"], r"--batch-size: all: is no number of rows; write a whole number, or auto"),
        (["--engine=egaer"], r"^--engine egaer: choose one of eager, .*did you mean 'eager'"),
    ],
)
def test_options_out_of_range_are_refused(tabular_run: FinishedRun, options: list[str], message: str) -> None:
    with pytest.raises(BadConfiguration, match=message):
        thrifty_command(["predict", str(tabular_run.path), "new.csv", *options])


@pytest.mark.parametrize("given", ["x" * 300, "~nobody-of-that-name/x.csv", "nothing.csv", "a\0b"])
def test_what_is_no_path_is_no_file(tabular_run: FinishedRun, given: str) -> None:
    with pytest.raises(BadData, match="there is no such file; give the path of what to predict for"):
        thrifty_command(["predict", str(tabular_run.path), given])
    with pytest.raises(BadConfiguration, match="need the name of a file in a folder that exists"):
        thrifty_command(["predict", str(tabular_run.path), given, "-o", f"{given}/out.csv"])


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_too_large_a_batch_is_told_with_what_to_do(
    tabular_run: FinishedRun, table: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def more_than_there_is(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 80. GiB")

    monkeypatch.setattr(registry.load("task", "tabular"), "predict", staticmethod(more_than_there_is))
    with pytest.raises(
        OutOfMemory, match=r"^--batch-size 512: out of memory \(Unable to allocate 80\. GiB\); give a smaller one"
    ):
        thrifty_command(["predict", str(tabular_run.path), str(table), "--batch-size", "512", *options])


@pytest.mark.parametrize("options", [["--processes=2"], ["--batch-size=auto"]])
def test_a_text_has_no_batches_to_share(text_run: FinishedRun, options: list[str]) -> None:
    with pytest.raises(BadConfiguration, match=r"goes with tables and images; task=text is one sequence") as caught:
        thrifty_command(["predict", str(text_run.path), "x", *options])
    assert str(caught.value).startswith(options[0].replace("=", " "))


def test_a_text_is_written_by_any_engine(cli: Cli, text_run: FinishedRun, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra: pip install 'thrifty[onnx]'")
    copy = text_run.copied_to(tmp_path / "store")
    common = ["predict", str(copy), "def main(", "--length", "300", "--temperature", "0"]
    eager, other = cli(*common), cli(*common, "--engine", "onnxruntime")
    assert other.stdout.startswith("def main(")
    # Equal but for a likeliest byte that two are almost as likely for.
    assert other.stdout[:30] == eager.stdout[:30]
    assert [one.name for one in copy.glob("*-tokens.onnxruntime.onnx")]


def test_an_engine_that_cannot_run_here_is_refused_with_the_reason(tabular_run: FinishedRun) -> None:
    with pytest.raises(Unsupported, match=r"^--engine semi_structured: needs the sparse tensor cores of a GPU") as caught:
        thrifty_command(["predict", str(tabular_run.path), "new.csv", "--engine", "semi_structured"])
    assert "\n" not in str(caught.value)


def test_the_run_s_own_engine_is_taken_unless_it_cannot_run_here(
    tabular_run: FinishedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from thrifty.engines.compile import Compile
    from thrifty.report.prediction import _engine

    record = tabular_run.record
    record["config"]["engine"] = {"name": "compile", "mode": "default"}
    monkeypatch.setattr(Compile, "unsupported", lambda self, device: None)
    assert _engine(record, None, in_batches=True)[1] == record["config"]["engine"]
    assert _engine(record, "eager", in_batches=True)[0].name == "eager"
    assert _engine(record, None, in_batches=False)[0].name == "eager"  # it may take a minute to be ready
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(
        Compile, "unsupported", lambda self, device: "engine=compile: needs a C++ compiler; or take engine=eager"
    )
    assert _engine(record, None, in_batches=True)[0].name == "eager"
    assert (
        capsys.readouterr().err
        == "engine=compile: needs a C++ compiler: the run's engine is left out, PyTorch itself predicts\n"
    )
    with pytest.raises(ThriftyError, match=r"^--engine compile: needs a C\+\+"):
        _engine(record, "compile", in_batches=True)
