"""The parent's side of lean processes: fresh interpreters that import only what predicting takes. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import thrifty
from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.engines.base import Engine
from thrifty.execution import libraries
from thrifty.execution.death import cause_of_death, kernel_kills

MODULE = "thrifty.execution.lean_worker"
LONGEST = 600.0
"""Seconds a lean process may take before it is ended."""


@dataclass(frozen=True)
class LeanTask:
    """What is to be loaded and called: plain values only."""

    run: str
    """Directory of the run, as its files lie on disk."""
    batch_size: int = 1
    device: str = "cpu"
    threads: int = 1
    config_hash: str | None = None
    """The configuration the run's record names; a model of another one is refused."""
    engine: dict[str, Any] | None = None
    """Values of the run's engine; None is PyTorch itself."""


def alone(engine: dict[str, Any] | None) -> str | None:
    """The name of an engine that needs no torch, as it runs a file of its own; None of the others."""
    executes = _engine_of(engine)
    return executes.name if executes is not None and executes.exports and not executes.needs_torch else None


def compiles(engine: dict[str, Any] | None) -> bool:
    """Whether the first process compiles, and the next ones find what it has compiled."""
    executes = _engine_of(engine)
    return executes is not None and executes.compiles


def _engine_of(engine: dict[str, Any] | None) -> Engine | None:
    if engine is None:
        return None
    config = choice_of("engine", engine)
    return registry.load("engine", config.name)(config)


@dataclass(frozen=True)
class Phase:
    """Memory of the lean process in one phase, in MiB; None where the system does not tell."""

    peak_mib: float | None
    """Highest resident memory within the phase."""
    reason: str | None
    """Why the peak is missing, or not the phase's alone."""
    anonymous_mib: float | None
    """At the phase's end, written by the process."""
    mapped_mib: float | None
    """At the phase's end, pages of files: libraries, and weights read by mmap."""
    device: dict[str, float | None] | None
    """Of the accelerator: `allocated_mib` and `reserved_mib` at their peak, `process_mib` as the driver counts it at the end."""


@dataclass(frozen=True)
class LeanMeasurement:
    """What one fresh process found."""

    interpreter_s: float
    """From the parent's word to the first line of our own."""
    import_s: float
    load_s: float
    """Until every weight was read."""
    first_call_s: float
    steady_calls: int
    before_loading: float | None
    """Resident memory in MiB, all imported and nothing loaded."""
    loading: Phase
    first_call: Phase
    steady: Phase
    threads: int
    """In force, not asked for."""
    libraries: dict[str, str | None]
    call_s: float = 0.0
    """Mean of the steady calls."""

    @property
    def phases(self) -> tuple[Phase, Phase, Phase]:
        """In the order in which they came."""
        return self.loading, self.first_call, self.steady


@dataclass(frozen=True)
class LeanFailed:
    """Why a lean process told nothing."""

    status: str
    """As in a record: oom, killed, error."""
    reason: str


class LeanProcess:
    """One lean process. It imports as soon as it is made, and waits for its task; ended when the `with` block is left.

    Args:
        environment: variables it is to have beside ours.
        engine: name of an engine that runs a file of its own: the process then imports what that needs, and no torch.
    """

    def __init__(
        self,
        command: list[str] | None = None,
        patience: float = LONGEST,
        environment: Mapping[str, str] | None = None,
        engine: str | None = None,
    ) -> None:
        libraries.prepare()
        self.command, self.patience, self.environment, self.engine = command, patience, environment or {}, engine
        self._kills_before = kernel_kills()
        self._started = time.monotonic()
        self._process: subprocess.Popen[str] | None = None
        self._failed: LeanFailed | None = None
        # Ours before others of the name, wherever the parent found it; and nothing from the directory we happen to be in (-P).
        ours = os.pathsep.join([str(Path(thrifty.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            self._process = subprocess.Popen(
                command or [sys.executable, "-P", "-m", MODULE, *([engine] if engine else [])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "PYTHONPATH": ours, **self.environment},
                process_group=0 if os.name == "posix" else None,  # what the model starts is ended with it
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self._failed = LeanFailed("error", f"no process could be started ({error})")

    def again(self) -> LeanProcess:
        """A fresh one of the same kind."""
        return LeanProcess(self.command, self.patience, self.environment, self.engine)

    def __enter__(self) -> LeanProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def measure(self, task: LeanTask) -> LeanMeasurement | LeanFailed:
        """Let it load a run's model and predict."""
        found = self.ask(asdict(task))
        return found if isinstance(found, LeanFailed) else measurement_from(found)

    def ask(self, task: dict[str, Any]) -> dict[str, Any] | LeanFailed:
        """Give it its one task and wait, blocked, for the answer; however it dies, that is told and raises nothing."""
        process = self._process
        if process is None:
            return self._failed or LeanFailed("error", "it was ended before it had a task")
        line = json.dumps({"started": self._started, **task}) + "\n"
        try:
            said, _ = process.communicate(line, timeout=self.patience)
        except subprocess.TimeoutExpired:
            return LeanFailed("killed", f"it gave no answer for {self.patience:g} s and was ended")
        finally:
            self.end()
        return _answer(said) or LeanFailed(
            *cause_of_death(process.returncode, kernel_kills() > self._kills_before, "the lean process")
        )

    def end(self) -> None:
        """End the process, and what it has started; waits until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        for one in (process.stdin, process.stdout):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.close()


def measure_in_turn(first: LeanProcess, task: LeanTask, processes: int) -> list[LeanMeasurement | LeanFailed]:
    """The same task in `processes` fresh processes, one after the other; the first that fails is the last."""
    found = [first.measure(task)]
    while len(found) < processes and isinstance(found[-1], LeanMeasurement):
        with first.again() as fresh:
            found.append(fresh.measure(task))
    return found


def _answer(said: str) -> dict[str, Any] | LeanFailed | None:
    """The last line that is an answer: something may have printed before we could take its stdout."""
    for line in reversed(said.splitlines()):
        with contextlib.suppress(ValueError):
            answer: Any = json.loads(line)
            if isinstance(answer, dict) and "failed" in answer:
                return LeanFailed(*answer["failed"])
            if isinstance(answer, dict) and "measured" in answer:
                found: dict[str, Any] = answer["measured"]
                return found
    return None


def measurement_from(values: dict[str, Any]) -> LeanMeasurement:
    """A measurement as JSON has it.

    Raises:
        KeyError, TypeError: it is of another form.
    """
    phases = {name: Phase(**values[name]) for name in ("loading", "first_call", "steady")}
    return LeanMeasurement(**{**values, **phases})
