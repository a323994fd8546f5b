"""What is left of a run that something happened to: signals, kills, too little memory, a full disk, a loss that runs away."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import QUIET, Cli

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent, and limits memory")
ENDLESS = "budget.steps=100000000"


@pytest.fixture
def text(cli: Cli) -> tuple[str, ...]:
    """The smallest GPT on a small file."""
    (cli.cwd / "corpus.txt").write_text("".join(f"line {number}: the quick brown fox\n" for number in range(800)))
    return ("task.path=corpus.txt", "architecture.width=64", "architecture.depth=1", "architecture.context=16", "measure=none")


def awaited(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None, limit: float = 60) -> Any:
    """What the condition gives once it is true; a process that ends before is a failure."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return found


def training(cli: Cli, process: subprocess.Popen[str], number: int = 0) -> Path:
    """The directory of a run once Lightning is at work in it."""

    def at_work() -> Path | None:
        runs = cli.runs()
        log = runs[number] / "run.log" if len(runs) > number else None
        return runs[number] if log is not None and log.is_file() and "GPU available" in log.read_text() else None

    found: Path = awaited(at_work, process)
    return found


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory for temporary files whose name is short enough for the fork server's socket."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        yield Path(name)


def record_of(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run / "result.json").read_text())
    return record


def ended(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, (process.returncode, out, err)
    assert "Traceback" not in out + err
    return out, err


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def no_leftovers(run: Path) -> None:
    assert [one.name for one in run.iterdir() if one.name.endswith(".tmp") or one.name == ".reserve"] == []


@pytest.mark.parametrize(
    ("sent", "code", "status", "reason"),
    [
        ((signal.SIGINT, signal.SIGINT), 130, "killed", "interrupted at step"),
        ((signal.SIGTERM,), 143, "preempted", "terminated at step"),
    ],
)
def test_a_stop_during_training_keeps_the_weights(
    cli: Cli, text: tuple[str, ...], sent: tuple[signal.Signals, ...], code: int, status: str, reason: str
) -> None:
    process = cli.popen("run", *text, ENDLESS)
    run = training(cli, process)
    for number in sent:
        process.send_signal(number)
    out, err = ended(process, code)
    record = record_of(run)
    assert (record["status"], record["reason"].startswith(reason)) == (status, True)
    assert record["finished"] > record["started"]
    assert record["metrics"]["train/steps"]["value"] >= 1
    assert record["metrics"]["quality/bits_per_byte"]["value"] is None  # the test split is kept for a whole run
    assert f"{status}: {record['reason']}" in out
    assert err.count("stopping at the next step") == 1
    no_leftovers(run)
    (offline,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    assert offline.stat().st_size > 0
    if status == "killed":
        assert cli("predict", run.name, "line", "--length", "3").stdout.startswith("line")


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_every_process_of_a_run_keeps_the_weights(cli: Cli, text: tuple[str, ...], number: signal.Signals) -> None:
    """As clusters send it: to the fork server and to whatever a logger has started, too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "thrifty", "run", *text, ENDLESS],
        cwd=cli.cwd, env=cli.environment(), text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    run = training(cli, process)
    os.killpg(process.pid, number)
    ended(process, 143)
    record = record_of(run)
    assert (record["status"], record["reason"].startswith("terminated at step")) == ("preempted", True)
    assert (run / "model.safetensors").is_file()
    no_leftovers(run)


def importing(command_line: int) -> bool:
    """Whether a child of the command line has begun to load torch."""
    children = Path(f"/proc/{command_line}/task/{command_line}/children").read_text().split()
    return any("libtorch" in Path(f"/proc/{child}/maps").read_text() for child in children)


@LINUX
def test_an_interrupt_before_there_is_a_worker_ends_at_once_and_leaves_nothing(
    cli: Cli, text: tuple[str, ...], temporary: Path
) -> None:
    """As Ctrl-C does it: to every process of the terminal, while the fork server still imports."""
    process = subprocess.Popen(
        [sys.executable, "-m", "thrifty", "run", *text, ENDLESS, *QUIET],
        cwd=cli.cwd, env=cli.environment(TMPDIR=str(temporary)), text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    awaited(lambda: importing(process.pid), process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = ended(process, 130)
    assert (out, err.strip()) == ("", "interrupted")
    assert not cli.store.exists()
    assert list(temporary.glob("thrifty-*")) == []


def test_a_terminate_before_there_is_a_worker_leaves_nothing(cli: Cli, text: tuple[str, ...], temporary: Path) -> None:
    process = cli.popen("run", *text, ENDLESS, *QUIET, TMPDIR=str(temporary))
    awaited(lambda: list(temporary.glob("thrifty-*.log")), process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM)  # the latter before the handler is in place
    assert not cli.store.exists()


def test_a_worker_that_is_killed_leaves_a_record_and_does_not_end_the_grid(cli: Cli, text: tuple[str, ...]) -> None:
    process = cli.popen("run", "-m", *text, "budget.steps=100000000,3", *QUIET)
    run = training(cli, process)
    half_written = run / ".history.csv.1.tmp"
    half_written.write_text("half")
    os.kill(record_of(run)["attempt"]["pid"], signal.SIGKILL)
    out, _ = ended(process, 5)
    first, second = (record_of(one) for one in cli.runs())
    assert (first["status"], second["status"]) == ("killed", "ok")
    assert first["reason"] == "the worker died of SIGKILL; run.log holds its last words"
    assert first["finished"] > first["started"]
    no_leftovers(run)
    assert "2 records in" in out


@LINUX
def test_a_worker_outlives_no_command_line(cli: Cli, text: tuple[str, ...], temporary: Path) -> None:
    process = cli.popen("run", *text, ENDLESS, *QUIET, TMPDIR=str(temporary))
    run = training(cli, process)
    worker = record_of(run)["attempt"]["pid"]
    process.kill()
    process.communicate(timeout=60)
    awaited(lambda: gone(worker))
    record = record_of(run)
    assert (record["status"], record["reason"].startswith("terminated at step")) == ("preempted", True)
    assert (run / "model.safetensors").is_file()
    assert list(temporary.glob("thrifty-*.log")) == []
    no_leftovers(run)


@LINUX
def test_a_third_interrupt_kills_a_worker_that_does_not_answer(cli: Cli, text: tuple[str, ...]) -> None:
    process = cli.popen("run", *text, ENDLESS, *QUIET)
    run = training(cli, process)
    worker = record_of(run)["attempt"]["pid"]
    os.kill(worker, signal.SIGSTOP)
    awaited(lambda: "State:\tT" in Path(f"/proc/{worker}/status").read_text(), process)
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        awaited(lambda number=number: pending(worker, number), process)
    process.send_signal(signal.SIGINT)
    out, _ = ended(process, 5)
    assert record_of(run)["reason"].startswith("the worker died of SIGKILL")
    assert "killed: the worker died of SIGKILL" in out


def pending(pid: int, number: signal.Signals) -> bool:
    """Whether a stopped process has been sent a signal."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("ShdPnd:"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


@LINUX
def test_interrupts_do_not_keep_the_command_line_from_writing_the_record(cli: Cli, text: tuple[str, ...]) -> None:
    """As when Ctrl-C is held down: from the worker's death until its record is written."""
    process = cli.popen("run", *text, ENDLESS, *QUIET)
    run = training(cli, process)
    os.kill(record_of(run)["attempt"]["pid"], signal.SIGKILL)
    while process.poll() is None and record_of(run)["status"] == "running":
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert record_of(run)["status"] == "killed"


def test_a_run_whose_processes_were_all_killed_reads_as_killed(cli: Cli, text: tuple[str, ...]) -> None:
    process = cli.popen("run", *text, ENDLESS, *QUIET)
    run = training(cli, process)
    assert json.loads(cli("list", "--json").stdout)["status"] == "running"
    worker = record_of(run)["attempt"]["pid"]
    os.kill(worker, signal.SIGSTOP)  # so that it cannot end well
    process.kill()
    process.wait(60)
    os.kill(worker, signal.SIGKILL)
    process.communicate(timeout=60)
    awaited(lambda: gone(worker))
    assert record_of(run)["status"] == "running"
    assert json.loads(cli("list", "--json").stdout)["status"] == "killed"
    assert "the process is gone and left no record" in cli("show", run.name).stdout


@LINUX
@pytest.mark.parametrize(
    ("mib", "reason"),
    [(6 * 1024, "out of memory: "), (450, "")],
    ids=["while training", "while importing"],
)
def test_too_little_memory_is_said(cli: Cli, text: tuple[str, ...], mib: int, reason: str) -> None:
    (cli.cwd / "corpus.txt").write_text("all work and no play " * 50_000)
    batch = ("architecture.width=512", "architecture.depth=2", "batch_size=50000", "budget.steps=1")  # 45 GiB of activations
    done = subprocess.run(
        [sys.executable, "-m", "thrifty", "run", *text, *batch, *QUIET],
        cwd=cli.cwd, env=cli.environment(), text=True, capture_output=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (mib * 2**20, mib * 2**20)),
    )  # fmt: skip
    assert done.returncode == 5, (done.stdout, done.stderr)
    record = cli.record()
    assert record["status"] == "oom"
    assert record["reason"].startswith(reason)
    assert "batch_size=25000" in done.stdout  # advice: half of it
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [f"error: {record['reason']}"]


def test_a_loss_that_runs_away_is_said_with_a_lower_rate(cli: Cli, text: tuple[str, ...]) -> None:
    rate = ("optimizer=sgd", "optimizer.lr=1e6", "schedule=constant")
    done = cli("run", *text, *rate, "budget.steps=50", *QUIET, code=6)
    record = cli.record()
    assert record["status"] == "diverged"
    assert "lower optimizer.lr=1e+06" in record["reason"]
    assert record["metrics"]["train/steps"]["value"] >= 1
    assert "python run.py" in done.stdout
    assert "optimizer.lr=3.3e+05" in done.stdout
    (run,) = cli.runs()
    assert (run / "history.csv").is_file()
    assert not (run / "model.safetensors").exists()
    no_leftovers(run)


def test_a_temporary_directory_too_long_for_a_socket_costs_the_fork_server_only(cli: Cli, text: tuple[str, ...]) -> None:
    long = cli.home / ("a" * 100)
    long.mkdir()
    cli("run", *text, "budget.steps=3", *QUIET, TMPDIR=str(long))
    assert cli.record()["status"] == "ok"
    assert list(long.glob("thrifty-*")) == []


def test_weights_that_cannot_be_written_leave_nothing_half_written(cli: Cli, text: tuple[str, ...]) -> None:
    """Files may not grow beyond 200 KiB; the weights would be 260."""
    most = 200 * 2**10
    done = subprocess.run(
        [sys.executable, "-m", "thrifty", "run", *text, "budget.steps=3", *QUIET],
        cwd=cli.cwd, env=cli.environment(), text=True, capture_output=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )  # fmt: skip
    assert done.returncode == 4, (done.stdout, done.stderr)
    record = cli.record()
    assert record["status"] == "error"
    assert "model.safetensors: the weights cannot be written" in record["reason"]
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")] == [f"error: {record['reason']}"]
    (run,) = cli.runs()
    assert not (run / "model.safetensors").exists()
    no_leftovers(run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk of a size of its own."""
    where = tmp_path / "disk"
    where.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(where)]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small disk can be mounted by root on Linux only")
        return where

    yield mount
    if where.is_mount():
        subprocess.run(["umount", str(where)], check=True)


def test_a_disk_too_small_for_the_run_is_refused(cli: Cli, text: tuple[str, ...], small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("1m")
    message = cli.refused("run", *text, "budget.steps=3", *QUIET, f"store={disk / 'results'}", code=4)
    assert "has 1 MiB free, this run writes about 4 MiB" in message
    assert list(disk.iterdir()) == []


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def test_a_disk_that_fills_up_during_the_run_is_said_in_the_record(
    cli: Cli, text: tuple[str, ...], small_disk: Callable[[str], Path]
) -> None:
    """With wandb writing to it too."""
    disk = small_disk("5m")
    elsewhere = Cli(disk, cli.home)  # its runs lie there
    process = cli.popen("run", *text, ENDLESS, f"store={elsewhere.store}")
    run = training(elsewhere, process)
    with pytest.raises(OSError, match="No space left"):
        fill(disk)
    process.send_signal(signal.SIGINT)
    _, err = ended(process, 4)
    record = record_of(run)
    assert record["status"] == "error"
    assert "No space left on device" in record["reason"]
    assert "free some space or give another store=DIR" in record["reason"]
    assert f"error: {record['reason']}" in err.splitlines()
    no_leftovers(run)
