"""Commands as their user types them, each a process of its own, in a folder and with a HOME that hold nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import _report

RUN = (str(_report.ROOT / "run.py"),)
THRIFTY = ("-m", "thrifty")


def environment(home: str) -> dict[str, str]:
    """Nothing of the user's own may change what runs."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "THRIFTY", "HYDRA", "XDG"))}
    return {**ours, "HOME": home}


def output_of(arguments: Sequence[str], folder: str, allowed: Sequence[int] = (0,), **extra: str) -> str:
    """What the interpreter prints with these arguments; ends everything where its exit code is none of those allowed.

    Args:
        extra: environment variables.
    """
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env={**environment(folder), **extra}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
