"""Grids by another sweeper or launcher than ours: Hydra's own sweeper, and launchers such as joblib, submitit_slurm and ray."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from thrifty.config.hydra_main import hydra_main
from thrifty.config.overrides import parse
from thrifty.config.values import root_values
from thrifty.errors import BadConfiguration, ThriftyError
from thrifty.execution.death import ask_for_the_parent_s_end, first_line
from thrifty.stop import REASONS
from thrifty.store import SHARED, utc_stamp
from thrifty.sweeps.directory import shared

_BASIC = "basic"
_PLUGINS = {
    "submitit_slurm": "'thrifty[slurm]'",
    "submitit_local": "'thrifty[slurm]'",
    "joblib": "hydra-joblib-launcher",
    "ray": "hydra-ray-launcher",
}
"""What to install for a launcher."""


def run_by_hydra(overrides: Sequence[str], run_here: Callable[[list[str]], int]) -> int:
    """Give a grid to Hydra; returns the first exit code that is not 0.

    Args:
        run_here: runs one experiment in this process and returns its exit code.

    Raises:
        BadConfiguration: what Hydra could not compose, or a launcher that is not installed.
        ThriftyError: a job ended without a word, as one does that is cancelled.
    """
    chosen = {one.key_or_group: one.value() for one in parse(overrides) if not one.is_sweep_override()}
    launcher = str(chosen.get("hydra/launcher", _BASIC))
    scratch = Path(str(chosen.get("store", root_values()["store"])), SHARED, f"hydra-{utc_stamp()}").absolute()
    run = run_here if launcher == _BASIC else run_in_its_own_process

    def keep(its_overrides: list[str]) -> None:
        code = run(its_overrides)
        # In files, as the job may be on another machine; what Hydra brings back of it a sweeper need not give us.
        Path(scratch, f"{utc_stamp()}-{secrets.token_hex(4)}.exit").write_text(str(code))

    # Sweepers and launchers of Hydra's write what they did into their own directory; ours holds records only. It lies in the
    # store, as the machines of a cluster share that, and no temporary directory.
    elsewhere = [] if "hydra.sweep.dir" in chosen else [f"hydra.sweep.dir={scratch}"]
    with shared(scratch), contextlib.nullcontext() if launcher == _BASIC else _ended_by_signals():
        try:
            hydra_main(["--multirun", *overrides, *elsewhere], keep)
        except BadConfiguration as error:
            if f"hydra/launcher/{launcher}" in str(error) and launcher in _PLUGINS:
                raise BadConfiguration(
                    f"hydra/launcher={launcher}: is not installed; pip install {_PLUGINS[launcher]}"
                ) from error
            raise
        except ThriftyError:
            raise
        except Exception as error:  # whatever a launcher raises when a job of its has died
            if launcher == _BASIC:
                raise
            raise ThriftyError(
                f"hydra/launcher={launcher}: a job ended without a word ({type(error).__name__}: {first_line(error)}); "
                "`thrifty list` shows what has a record"
            ) from error
        codes = [int(one.read_text()) for one in sorted(scratch.glob("*.exit"))]
    return next((code for code in codes if code), 0)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within it SIGTERM ends this process at once, and no other: where it is an exception, launchers kill what their jobs have begun, or
    take away the folder that these read.
    """
    before = {one: signal.getsignal(one) for one in REASONS if one != signal.SIGINT}
    changed = {one: handler for one, handler in before.items() if callable(handler)}
    try:
        for one in changed:
            signal.signal(one, signal.SIG_DFL)
        yield
    finally:
        for one, handler in changed.items():
            signal.signal(one, handler)


def run_in_its_own_process(overrides: list[str]) -> int:
    """One experiment as a command line of its own, and its exit code.

    Launchers run their jobs in processes in which a run cannot start another: of a start method of their own, or in a thread
    that may not listen to signals.
    """
    command = [sys.executable, "-m", "thrifty", "run", *overrides]
    prepare = ask_for_the_parent_s_end if os.name == "posix" else None  # Windows takes none
    return subprocess.run(command, stdin=subprocess.DEVNULL, preexec_fn=prepare).returncode
