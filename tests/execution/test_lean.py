"""Lean processes: what they find, what they import, and that their deaths are told and hurt nobody."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from chosen import chosen
from thrifty.execution import libraries
from thrifty.execution.lean import LeanFailed, LeanMeasurement, LeanProcess, LeanTask, measure_in_turn
from thrifty.formats import safetensors
from thrifty.methods.model import build_model, manifest_of

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
HEAVY = ("hydra", "omegaconf", "pandas", "sklearn", "scipy", "pytorch_lightning", "wandb", "rich")


def saved(directory: Path, *widths: int) -> Path:
    """The files of a run that lean processes read."""
    directory.mkdir(exist_ok=True)
    architecture, shape = chosen("architecture=mlp", widths=list(widths)), {"inputs": 8, "outputs": 2}
    config = {
        "architecture": {"name": "mlp", "widths": list(widths)},
        "precision": {"name": "fp32"},
        "task": {"name": "tabular"},
    }
    safetensors.save(directory, build_model(architecture, shape, 0.0), manifest_of(config, "a" * 64, shape, {}))
    return directory


def sabotaged(loading: str) -> list[str]:
    """A lean process in which loading a model does something else; `really` loads it."""
    lines = (
        "import os, signal, subprocess, sys",
        "import thrifty.methods.model as model",
        "really = model.load_trained",
        "def load(*given):",
        textwrap.indent(textwrap.dedent(loading), "    "),
        "model.load_trained = load",
        "from thrifty.execution.lean_worker import main",
        "main()",
    )
    return [sys.executable, "-P", "-c", "\n".join(lines)]


def outcome(loading: str, run: Path, patience: float = 60) -> LeanMeasurement | LeanFailed:
    with LeanProcess(sabotaged(loading), patience) as process:
        return process.measure(LeanTask(str(run)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("lean") / "run", 16, 4)


@LINUX
def test_it_finds_times_and_memory_of_each_phase(run: Path, tmp_path: Path) -> None:
    large = saved(tmp_path / "large", 2048, 8192)  # 64 MiB between its layers
    more_mib = (sum((one / "model.safetensors").stat().st_size * sign for one, sign in ((large, 1), (run, -1)))) / 2**20
    found = []
    for directory in (run, large):
        with LeanProcess() as process:
            found.append(process.measure(LeanTask(str(directory), batch_size=4, threads=1, config_hash="a" * 64)))
    small, big = found
    assert isinstance(small, LeanMeasurement)
    assert isinstance(big, LeanMeasurement)
    assert small.threads == big.threads == 1
    assert small.libraries == libraries.in_force()
    for one in (small, big):
        assert 0 < one.interpreter_s < one.import_s
        assert one.first_call_s > 0
        assert one.steady_calls >= 5
        assert one.call_s > 0
        assert one.before_loading is not None
        for phase in one.phases:
            assert phase.reason is None
            assert phase.device is None
            assert phase.peak_mib is not None
            assert phase.anonymous_mib is not None
            assert phase.mapped_mib is not None
            assert phase.anonymous_mib + phase.mapped_mib <= phase.peak_mib + 1
            assert phase.peak_mib >= one.before_loading - 1
    assert big.load_s > small.load_s
    assert big.loading.mapped_mib is not None
    assert small.loading.mapped_mib is not None
    # Weights are pages of the file, all of them read by the end of loading.
    assert big.loading.mapped_mib - small.loading.mapped_mib == pytest.approx(more_mib, rel=0.03)
    assert big.loading.anonymous_mib == pytest.approx(small.loading.anonymous_mib, abs=3)


def test_the_first_call_is_told_apart_from_those_after_it(run: Path) -> None:
    found = outcome(
        """
        import time
        trained, calls = really(*given), []
        def slow_at_first(*_):
            if not calls:
                time.sleep(0.5)
            calls.append(None)
        trained.module.register_forward_pre_hook(slow_at_first)
        return trained
        """,
        run,
    )
    assert isinstance(found, LeanMeasurement)
    assert found.first_call_s >= 0.5
    assert found.call_s < 0.1


def test_it_imports_no_more_than_predicting_takes(run: Path) -> None:
    found = outcome(
        f"""
        trained = really(*given)
        raise RuntimeError("with " + ",".join(one for one in {HEAVY} if one in sys.modules) + ".")
        """,
        run,
    )
    assert found == LeanFailed("error", "RuntimeError: with .")


def test_one_made_again_has_the_same_command_and_environment(run: Path) -> None:
    command = sabotaged("raise RuntimeError(os.environ['TOLD'])")
    with LeanProcess(command, environment={"TOLD": "what it was told"}) as process:
        found = [process.measure(LeanTask(str(run)))]
        with process.again() as fresh:
            found.append(fresh.measure(LeanTask(str(run))))
    assert found == [LeanFailed("error", "RuntimeError: what it was told")] * 2


def test_an_engine_that_cannot_run_is_told(run: Path) -> None:
    with LeanProcess(environment={"CXX": "/there/is/no/such/compiler"}) as process:
        found = process.measure(LeanTask(str(run), engine={"name": "compile", "mode": "default"}))
    assert isinstance(found, LeanFailed)
    assert "engine=compile: needs a C++ compiler" in found.reason


def test_what_a_model_prints_does_not_disturb(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = outcome(
        """
        print('{"failed": ["error", "printed"]}', flush=True)
        os.system("echo from a child")
        return really(*given)
        """,
        run,
    )
    assert isinstance(found, LeanMeasurement)
    assert "from a child" in capfd.readouterr().err


def test_a_truncated_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    damaged = saved(tmp_path / "run", 16, 4)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with LeanProcess() as process:
        found = process.measure(LeanTask(str(damaged)))
    assert isinstance(found, LeanFailed)
    assert found.status == "error"
    assert "was altered or truncated" in found.reason


def test_a_model_of_another_configuration_is_refused(run: Path) -> None:
    with LeanProcess() as process:
        found = process.measure(LeanTask(str(run), config_hash="b" * 64))
    assert isinstance(found, LeanFailed)
    assert "mixes two runs" in found.reason


@pytest.mark.parametrize(
    ("loading", "status", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "the lean process died of SIGKILL"),
        ("os._exit(3)", "killed", "the lean process died of exit code 3"),
        ("os._exit(0)", "killed", "the lean process died of exit code 0"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed", "the lean process died of SIGSEGV"),
        ("raise MemoryError('16 GiB')", "oom", "MemoryError: 16 GiB"),
        ("raise SystemExit('a library had enough')", "error", "SystemExit: a library had enough"),
    ],
)
def test_its_death_is_told(loading: str, status: str, reason: str, run: Path) -> None:
    found = outcome(loading, run)
    assert found == LeanFailed(status, reason)


def test_one_that_gives_no_answer_is_ended(run: Path) -> None:
    assert outcome("import time; time.sleep(1000)", run, patience=0.5) == LeanFailed(
        "killed", "it gave no answer for 0.5 s and was ended"
    )


def test_one_that_cannot_start_is_told() -> None:
    with LeanProcess(["/there/is/no/such/python"]) as process:
        found = process.measure(LeanTask("run"))
    assert isinstance(found, LeanFailed)
    assert "no process could be started" in found.reason


@LINUX
def test_what_a_model_starts_ends_with_it(run: Path, tmp_path: Path) -> None:
    left = tmp_path / "pid"
    found = outcome(
        f"""
        child = subprocess.Popen(["sleep", "1000"])
        open({str(left)!r}, "w").write(str(child.pid))
        return really(*given)
        """,
        run,
    )
    assert isinstance(found, LeanMeasurement)
    _awaited_end(int(left.read_text()))


@LINUX
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = "import time; from thrifty.execution.lean import LeanProcess; one = LeanProcess()\n"
    program += "print(one._process.pid, flush=True); time.sleep(1000)"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    lean = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    _awaited_end(lean)


def test_the_first_that_fails_is_the_last(tmp_path: Path) -> None:
    with LeanProcess() as process:
        found = measure_in_turn(process, LeanTask(str(tmp_path)), 3)
    assert len(found) == 1
    assert isinstance(found[0], LeanFailed)


def _awaited_end(process: int) -> None:
    end = time.monotonic() + 30
    while _runs(process):
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.01)


def _runs(process: int) -> bool:
    """Whether it does something still: one that nobody has asked about after its end does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
