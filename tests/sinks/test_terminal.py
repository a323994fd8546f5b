"""What a run shows as it goes, on a terminal and without one."""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pytest
from rich.console import Console

from conftest import QUIET, Cli
from thrifty.events import Finished, HistoryRow, Preparing, Progress, Refused, Started
from thrifty.execution.experiment import Guarded
from thrifty.sinks import terminal
from thrifty.sinks.terminal import TerminalSink

PROGRESS = Progress(step=120, steps=300, seconds=14.0, loss=2.43216, samples_per_s=1401.7, remaining_s=21.4)
VALIDATED = HistoryRow(100, 12.0, {"train/loss": 2.5, "validation/loss": 2.4, "validation/bits_per_byte": 3.5123})
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def console(width: int = 80, is_terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=is_terminal, legacy_windows=False, _environ={})


def shown(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_start_names_the_directory_and_says_what_the_data_are(is_terminal: bool) -> None:
    on = console(80, is_terminal)
    about = ["a [bold]table[/] of " + "many " * 20 + "rows", "[/] 2 classes"]
    TerminalSink(on).handle(Started("results[1]/[bold]" + "long" * 20, "id", {}, about))
    assert ESCAPES.sub("", shown(on)).splitlines() == ["results[1]/[bold]" + "long" * 20, *(f"  {one}" for one in about)]


def test_without_a_terminal_there_is_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    on = console(60)
    sink = TerminalSink(on)
    for now in (101.0, 109.9, 110.0, 115.0, 120.5):  # noqa: B007 - read by the clock
        sink.handle(PROGRESS)
        sink.handle(VALIDATED)
    line = "  step 120/300  loss 2.4322  1,402 samples/s  21 s left  val bits_per_byte 3.512"
    assert shown(on).splitlines() == [line, line]
    assert len(line) > 60


def test_without_a_terminal_preparing_is_not_worth_a_line() -> None:
    on = console()
    sink = TerminalSink(on)
    sink.handle(Preparing("reading the data"))
    sink.handle(Refused("no", 2))
    assert shown(on) == ""


def test_the_loss_of_validation_is_shown_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_LINE_SECONDS", 0.0)
    on = console()
    sink = TerminalSink(on)
    sink.handle(PROGRESS)
    sink.handle(HistoryRow(1, 0.1, {"train/loss": 1.0, "validation/loss": 2.25}))
    sink.handle(HistoryRow(2, 0.1, {"train/loss": 1.0}))
    sink.handle(PROGRESS)
    first, second = shown(on).splitlines()
    assert first.endswith("21 s left")
    assert second.endswith("val loss 2.25")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_on_a_terminal_the_bar_keeps_to_one_line(width: int) -> None:
    on = console(width, is_terminal=True)
    sink = TerminalSink(on)
    sink.handle(Preparing("training"))
    sink.handle(VALIDATED)
    sink.handle(PROGRESS)
    sink.close()
    lines = [line for line in plain_lines(shown(on)) if "step" in line]
    assert max(map(len, lines)) <= width
    assert lines[-1].lstrip("━╺╸ ").startswith("step 120/300  loss 2.4322")
    assert ("━" in lines[-1]) == (width == 120)
    assert lines[-1].endswith("…" if width == 40 else "bits_per_byte 3.512")


@pytest.mark.parametrize("last", [Finished("path", {}, 0), Refused("no", 3), None])
@pytest.mark.parametrize("before", [Preparing("reading [the] data"), PROGRESS])
def test_the_cursor_comes_back(before: Preparing | Progress, last: Finished | Refused | None) -> None:
    on = console(80, is_terminal=True)
    sink = TerminalSink(on)
    sink.handle(before)
    assert shown(on).count("\x1b[?25l") == 1
    if last is not None:
        sink.handle(last)
    sink.close()
    assert shown(on).count("\x1b[?25h") == 1


def plain_lines(text: str) -> list[str]:
    """What stands between the movements of the cursor, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Zhl]|\r", "\n", re.sub(r"\x1b\[[0-9;]*m", "", text)).split("\n")


class Broken:
    """Fails in every way a sink can."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.calls = error, 0

    def handle(self, event: object) -> None:
        self.calls += 1
        raise self.error

    def close(self) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("first\nsecond"), OSError(28, "No space left"), SystemExit(1)])
def test_a_sink_that_fails_is_left_out_and_told_of_once(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Broken(error)
    sink = Guarded(broken)
    sink.handle(PROGRESS)
    sink.handle(PROGRESS)
    sink.close()
    assert broken.calls == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Broken: {type(error).__name__}: ")
    assert line.endswith("; the run goes on without it")


def test_a_stop_is_no_failure_of_a_sink() -> None:
    with pytest.raises(KeyboardInterrupt):
        Guarded(Broken(KeyboardInterrupt())).handle(PROGRESS)


def test_a_run_on_a_real_terminal_leaves_it_as_it_was(cli: Cli) -> None:
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {name: value for name, value in cli.environment(TERM="xterm").items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "thrifty", "run", "task=tabular", "budget.steps=20", *QUIET],
        cwd=cli.cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    text = read_all(ours)
    assert process.wait() == 0
    assert "reading the tabular data" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
    last = ESCAPES.sub("", text).replace("\r\n", "\n").split("How good")[1]
    assert "quality/accuracy" in last
    assert max(map(len, last.split("What to try")[0].split("record")[0].splitlines())) <= 80


def test_a_reader_that_goes_away_does_not_end_the_run(cli: Cli) -> None:
    command = f"'{sys.executable}' -m thrifty run task=tabular budget.steps=20 {' '.join(QUIET)} 2>&1 | head -n 0"
    subprocess.run(
        ["bash", "-c", command], cwd=cli.cwd, env=cli.environment(), stdin=subprocess.DEVNULL, timeout=100, check=True
    )
    assert cli.record()["status"] == "ok"


def read_all(descriptor: int) -> str:
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # how Linux says that the other side is closed
            piece = b""
        if not piece:
            os.close(descriptor)
            return b"".join(pieces).decode()
        pieces.append(piece)
