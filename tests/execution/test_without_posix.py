"""Nothing of ours needs, to be imported, what only POSIX has: on Windows the paths are slower, and do not crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import thrifty

ROOT = Path(thrifty.__file__).parent
ONLY_POSIX = ("resource", "fcntl", "pwd", "grp", "termios")
PROGRAM = f"""
import sys
import torch, pytorch_lightning, filelock  # what libraries do on their own systems is theirs
for name in {ONLY_POSIX}:
    sys.modules[name] = None
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_every_module_of_execution_measuring_and_comparing_imports() -> None:
    rooms = ("execution", "measure", "instrument", "methods", "report")
    files = [file for one in rooms for file in sorted((ROOT / one).glob("[!_]*.py"))]
    names = [".".join(("thrifty", file.parent.name, file.stem)) for file in files]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
