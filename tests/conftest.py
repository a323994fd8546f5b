"""Fixtures shared by the tests: a fresh command line, and finished runs that many tests read."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from thrifty.config.compose import compose
from thrifty.execution.worker import Job

QUIET = ("logger=none", "measure=none")
"""What a run needs not do where it is not the thing tested."""


def job_of(overrides: list[str], parent: str) -> Job:
    """What a worker is given for these overrides, its run's directory to be made in `parent`."""
    return Job(compose(overrides), overrides, parent, os.devnull, "token")


@dataclass(frozen=True)
class Cli:
    """`thrifty` in a process of its own, in a directory and with a HOME that hold nothing else."""

    cwd: Path
    home: Path

    @property
    def store(self) -> Path:
        return self.cwd / "results"

    def environment(self, **extra: str) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "THRIFTY", "XDG", "HYDRA"))}
        return {**ours, "HOME": str(self.home), "COLUMNS": "150", **extra}

    def popen(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "thrifty", *arguments],
            cwd=self.cwd, env=self.environment(**extra), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(
        self, *arguments: str, code: int = 0, given: str = "", limit: float = 120, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it and hold its exit code to `code`; `extra` are environment variables."""
        done = subprocess.run(
            [sys.executable, "-m", "thrifty", *arguments],
            cwd=self.cwd, env=self.environment(**extra), text=True, capture_output=True, timeout=limit, input=given,
        )  # fmt: skip
        assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        return done

    def refused(self, *arguments: str, code: int, **extra: str) -> str:
        """The one line on stderr of a command that must be refused with `code`; `extra` are environment variables."""
        done = self(*arguments, code=code, **extra)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        return errors[0].removeprefix("error: ")

    def runs(self) -> list[Path]:
        parents = [self.store / "runs", *(self.store / "sweeps").glob("*")]
        return sorted(one for parent in parents if parent.is_dir() for one in parent.iterdir() if one.is_dir())

    def record(self) -> dict[str, Any]:
        """The record of the only run."""
        (run,) = self.runs()
        record: dict[str, Any] = json.loads((run / "result.json").read_text())
        return record


def _fresh(root: Path) -> Cli:
    for name in ("cwd", "home"):
        (root / name).mkdir(parents=True)
    return Cli(root / "cwd", root / "home")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return _fresh(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that does not exist yet."""
    return tmp_path / "results"


@dataclass(frozen=True)
class FinishedRun:
    """A run that many tests read and none may change."""

    path: Path
    store: Path
    home: Path
    stdout: str
    stderr: str

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.path / "result.json").read_text())
        return record

    def copied_to(self, store: Path) -> Path:
        """A copy in a store of one's own, to be altered."""
        return Path(shutil.copytree(self.path, store / "runs" / self.path.name))


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Cli], tuple[str, ...]]) -> FinishedRun:
    """Made by the first process that asks, and found by the others of a parallel test run."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = root / "done.json"
        if not done.exists():
            shutil.rmtree(root / "run", ignore_errors=True)
            cli = _fresh(root / "run")
            ended = cli("run", *make(cli))
            (path,) = cli.runs()
            done.write_text(json.dumps([str(path), str(cli.store), str(cli.home), ended.stdout, ended.stderr]))
    path, store, home, stdout, stderr = json.loads(done.read_text())
    return FinishedRun(Path(path), Path(store), Path(home), stdout, stderr)


@pytest.fixture(scope="session")
def tabular_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The built-in table, with wandb and every measurement."""
    return _once(tmp_path_factory, "tabular", lambda cli: ("task=tabular", "budget.steps=40", "measure.seconds=0.3"))


@pytest.fixture(scope="session")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The smallest GPT on a small file."""

    def overrides(cli: Cli) -> tuple[str, ...]:
        text = cli.cwd / "corpus.txt"
        text.write_text("".join(f"line {number}: the quick brown fox\n" for number in range(800)))
        shape = ("architecture.width=64", "architecture.depth=1", "architecture.context=16")
        return (f"task.path={text}", *shape, "budget.steps=5", *QUIET)

    return _once(tmp_path_factory, "text", overrides)
