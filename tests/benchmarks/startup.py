"""How long help and the first gate's errors take, as whole processes: python tests/benchmarks/startup.py"""

from __future__ import annotations

import random
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

import _report
from _commands import RUN, THRIFTY

MOST_SECONDS = 0.8
HEAVY = ("torch", "pytorch_lightning", "lightning", "wandb", "optuna", "pandas", "sklearn", "scipy", "numpy")


@dataclass
class Command:
    """What is typed, and what it must do."""

    what: str
    arguments: tuple[str, ...]
    code: int
    seconds: list[float] = field(default_factory=list)

    def process(self, *python: str) -> subprocess.CompletedProcess[str]:
        """Run it once, with options of the interpreter; holds its exit code."""
        command = [sys.executable, *python, *self.arguments]
        done = subprocess.run(command, cwd=_report.ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != self.code:
            sys.exit(f"{self.what}: exit {done.returncode}, not {self.code}\n{done.stdout}{done.stderr}")
        return done

    def time(self) -> None:
        """Run it once more and keep the wall time."""
        begin = time.perf_counter()
        self.process()
        self.seconds.append(time.perf_counter() - begin)

    def heavy_imports(self) -> list[str]:
        """Which heavy libraries it imports."""
        lines = self.process("-X", "importtime").stderr.splitlines()
        found = [re.match(r"import time:[\s\d|]*\|\s*([\w.]+)$", line) for line in lines]
        if not any(found):
            sys.exit(f"{self.what}: the interpreter told no imports")
        return sorted({one[1] for one in found if one} & set(HEAVY))


def commands() -> list[Command]:
    """Help, the keys, and every kind of error the first gate knows."""
    return [
        Command("python run.py --help", (*RUN, "--help"), 0),
        Command("thrifty --help", (*THRIFTY, "--help"), 0),
        Command("thrifty keys", (*THRIFTY, "keys"), 0),
        Command("unknown key: optimiser=adam", (*RUN, "optimiser=adam"), 2),
        Command("unknown key: optimizer.beta=1", (*RUN, "optimizer.beta=1"), 2),
        Command("wrong choice: optimizer=adm", (*RUN, "optimizer=adm"), 2),
        Command("wrong choice: model=huge", (*RUN, "model=huge"), 2),
        Command("wrong type: seed=one", (*RUN, "seed=one"), 2),
        Command("out of range: optimizer.lr=-1", (*RUN, "optimizer.lr=-1"), 2),
        Command("illegal pair: task=tabular architecture=gpt", (*RUN, "task=tabular", "architecture=gpt"), 2),
        Command("several values without -m: model=tiny,small", (*RUN, "model=tiny,small"), 2),
        Command("wrong choice in a grid: -m optimizer=adam,adm", (*RUN, "-m", "optimizer=adam,adm"), 2),
        Command("unknown flag: --fast", (*RUN, "--fast"), 2),
    ]


def main() -> None:
    """Measure, print and write the table; exit 1 where a command takes too long or imports too much."""
    parser = _report.parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=10, help="processes of each command (10)")
    parser.add_argument("--only", default="", help="only commands with this in their name")
    options = parser.parse_args()
    measured, order = [one for one in commands() if options.only in one.what], random.Random(0)
    imported = {one.what: one.heavy_imports() for one in measured}  # and so their files are read into memory
    for _ in range(options.repetitions):
        for one in order.sample(measured, len(measured)):
            one.time()
    rows = [
        [f"`{one.what}`", str(one.code), f"{statistics.median(one.seconds):.2f}", f"{max(one.seconds):.2f}",
         ", ".join(imported[one.what]) or "none"]
        for one in measured
    ]  # fmt: skip
    lines = [
        f"Wall seconds of whole processes, {options.repetitions} of each command in random order; at most {MOST_SECONDS} s are",
        f"allowed at the median. Imports looked for: {', '.join(HEAVY)}.",
        "",
        *_report.table(["command", "exit code", "median, s", "longest, s", "heavy imports"], rows),
    ]
    _report.publish("startup", "Start-up: help and errors", lines, options.results)
    sys.exit(any(imported.values()) or any(statistics.median(one.seconds) > MOST_SECONDS for one in measured))


if __name__ == "__main__":
    main()
