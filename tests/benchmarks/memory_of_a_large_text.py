"""Anonymous memory of the text task for 1 GiB of text against 10 MiB of it: python tests/benchmarks/memory_of_a_large_text.py

Each size is prepared, and 200 batches of it drawn, in a fresh process of its own; some 1.1 GiB of disk is needed meanwhile.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

TARGET_MIB = 100
BATCHES = 200
PROCESSES = 3
SIZES = {"10 MiB": 10, "1 GiB": 1024}
RESULT = Path(__file__).resolve().parents[2] / "results" / "memory_of_a_large_text.md"


def anonymous_mib() -> float:
    """Memory of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def measure_one(path: str) -> None:
    """Print this process's anonymous memory after preparing a text and drawing batches of every split."""
    import torch

    from thrifty.config.compose import compose
    from thrifty.tasks.text import TextTask

    torch.set_num_threads(1)
    config = compose([f"task.path={path}"])
    data = TextTask(config.task).prepare(config.architecture)
    generator = torch.Generator().manual_seed(0)
    for split, n in data.sizes.items():
        for _ in range(BATCHES):
            data.batch(split, torch.randint(0, 3 * n, (16,), generator=generator))
    gc.collect()
    print(anonymous_mib())


def write_text(path: Path, mib: int) -> None:
    """A text of a number of MiB without a zero byte; what it says does not matter, the file has no holes."""
    one = os.urandom(1024 * 1024).replace(b"\0", b"\n")
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(one)


def most_used_mib(files: int, mib: int) -> float:
    """The most anonymous memory of several fresh processes, for a text in one file or a folder of several."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            write_text(Path(folder) / f"{number}.txt", mib // files)
        place = Path(folder) / "0.txt" if files == 1 else Path(folder)
        command = [sys.executable, __file__, str(place)]
        return max(
            float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(PROCESSES)
        )


def main() -> None:
    """Measure, print and write the table; exit 1 where the target is missed."""
    rows, missed = [], False
    for what, files in (("one file", 1), ("a folder of 2 files", 2)):
        small, large = (most_used_mib(files, mib) for mib in SIZES.values())
        missed |= large - small > TARGET_MIB
        rows.append(f"| {what} | {small:.1f} | {large:.1f} | {large - small:+.1f} | {TARGET_MIB} |")
    header = ["text", *SIZES, "difference", "at most"]
    lines = [
        "# Memory of a large text",
        "",
        "    python tests/benchmarks/memory_of_a_large_text.py",
        "",
        f"Anonymous memory (RssAnon), in MiB, after the text task was prepared and {BATCHES} batches of 16 x 128 bytes were",
        f"drawn from each split; the most of {PROCESSES} fresh processes each.",
        "",
        f"| {' | '.join(header)} |",
        f"|{'---|' * len(header)}",
        *rows,
        "",
        f"Python {platform.python_version()}, torch {version('torch')}, {platform.system()} {platform.machine()}.",
    ]
    print("\n".join(lines))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join([*lines, ""]), encoding="utf-8")
    sys.exit(missed)


if __name__ == "__main__":
    measure_one(sys.argv[1]) if len(sys.argv) > 1 else main()
