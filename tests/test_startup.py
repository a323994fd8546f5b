"""Help and errors of the first gate answer before anything heavy could be imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "pytorch_lightning", "wandb", "optuna", "pandas", "sklearn", "scipy")
PROGRAM = """
import sys
from thrifty import cli
try:
    code = cli.thrifty_command(sys.argv[1:])
except cli.ThriftyError as error:
    code = error.exit_code
except SystemExit as ended:
    code = ended.code
print("\\n" + str(code), *sorted(name for name in sys.modules if name in {heavy!r}))
"""


def imported(*arguments: str) -> tuple[int, list[str]]:
    """Exit code of a command, and what of the heavy libraries it imported."""
    program = PROGRAM.format(heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60, check=True)
    code, *names = done.stdout.splitlines()[-1].split()
    return int(code), names


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "run --help",
        "run -h",
        "run --version",
        "keys",
        "list --help",
        "predict --help",
        "export --help",
        "doctor --help",
        "run --cfg job",
    ],
)
def test_help_imports_nothing_heavy(command: str) -> None:
    assert imported(*command.split()) == (0, [])


@pytest.mark.parametrize(
    "command",
    [
        "run optimiser=adam",
        "run optimizer=adm",
        "run optimizer.lr=0",
        "run task=tabular architecture=gpt",
        "run optimizer=adam,sgd",
        "run -m optimizer=adam,zzz",
        "run --no-such-flag",
        "no-such-command",
        "show no-such-run",
        "doctor --no-such-flag",
        "predict no-such-run input.csv",
        "export no-such-run --format npz",
        "export no-such-run --format hdf6",
        "export no-such-file --to-run directory",
    ],
)
def test_a_wrong_command_is_refused_before_anything_heavy(command: str) -> None:
    assert imported(*command.split()) == (2, [])
