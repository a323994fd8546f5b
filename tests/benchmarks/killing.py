"""A sweep that is killed again and again comes to the same as one left alone: python tests/benchmarks/killing.py"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import _report
from _commands import RUN, environment, output_of

from thrifty.store import read_record

_GRID = ("task=tabular", "optimizer=sgd,adam,lion", "seed=range(0,5)", "budget.steps=6000", "train.checkpoints=0.1",
         "measure=none", "logger=none", "sweep.parallel=2")  # fmt: skip
_OF_TIME = ("_s", "_ms", "samples_per_s", "_mib", "_pct", "energy_j", "written_mib", "_per_s")
"""Ends of the names of metrics that no two runs share."""


def processes() -> dict[int, tuple[int, str]]:
    """Of every process its parent and its command line."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found[int(entry.name)] = (parent, line)
    return found


def below(pid: int) -> list[int]:
    """Processes that one has started, and those that they have."""
    all_of_them, found = processes(), [pid]
    for one in found:
        found += [child for child, (parent, _) in all_of_them.items() if parent == one]
    return found[1:]


def killed(victims: str, pid: int, chance: random.Random) -> str | None:
    """End the sweep itself, some process below it, or all of them; returns what was done, None where there was nobody."""
    children = below(pid)
    if victims == "job" and not children:
        return None
    chosen = {"sweeper": [pid], "job": [chance.choice(children)] if children else [], "both": [pid, *children]}[victims]
    for one in chosen:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            return None
    return victims


def sweep_under_fire(folder: str, kills: int, chance: random.Random) -> tuple[Counter[str], int]:
    """Run the grid in a folder, and go on with it, until it has met so many kills and come to its end; returns kills and starts."""
    done, starts, resumed = Counter[str](), 0, []
    while True:
        starts += 1
        process = subprocess.Popen(
            [sys.executable, *RUN, "-m", *_GRID, *resumed],
            cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # With a kill to come it is soon; those of jobs leave the sweep running, so there may be several.
        while process.poll() is None:
            if sum(done.values()) >= kills:
                process.wait()
                break
            try:
                process.wait(chance.uniform(0.5, 6.0))
            except subprocess.TimeoutExpired:
                what = killed(chance.choice(["job", "job", "sweeper", "both"]), process.pid, chance)
                if what is not None:
                    done[what] += 1
                    print(f"{sum(done.values())}: {what}", file=sys.stderr)
        found = list(Path(folder).glob("results/sweeps/*"))
        resumed = [f"sweep.resume={found[0]}"] if found else []
        if process.returncode == 0 and sum(done.values()) >= kills:
            return done, starts
        time.sleep(1.0)  # workers without a command line end by themselves


def outcomes(folder: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Of every run the hash of its configuration, how it ended, and the metrics that do not depend on time."""
    found = []
    for one in sorted(Path(folder).glob("results/sweeps/*/*/result.json")):
        record = read_record(one.parent)
        metrics = {name: entry["value"] for name, entry in record["metrics"].items() if not name.endswith(_OF_TIME)}
        found.append((record["config_hash"], record["status"], metrics))
    return sorted(found, key=lambda one: one[0])


def main() -> None:
    """Kill, compare, print and write the table; exit 1 where anything differs."""
    parser = _report.parser(__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as quiet, tempfile.TemporaryDirectory() as under_fire:
        output_of([*RUN, "-m", *_GRID], quiet)
        begin = time.perf_counter()
        done, starts = sweep_under_fire(under_fire, options.kills, random.Random(options.seed))
        seconds = time.perf_counter() - begin
        calm, shaken = outcomes(quiet), outcomes(under_fire)
        left = [one.name for one in Path(under_fire).glob("results/sweeps/*/.claim-*")]
    once = [one[0] for one in shaken] == [one[0] for one in calm] and all(one[1] == "ok" for one in shaken)
    differing = [
        f"{name}: {before[2].get(name)} and {after[2].get(name)}"
        for before, after in zip(calm, shaken, strict=False)
        for name in sorted({*before[2], *after[2]})
        if before[2].get(name) != after[2].get(name)
    ]
    compared = sum(len(one[2]) for one in calm)
    lines = [
        f"`python run.py -m {' '.join(_GRID)}`: {len(calm)} trainings. SIGKILL at random moments: to any one process below the sweep's",
        "(a worker, a slot, a fork server), to the sweep's own, or to all at once; then `sweep.resume`, until it has come to its end.",
        "",
        *_report.table(
            ["kills", "of a job's process", "of the sweep's", "of all", "starts", "minutes", "every configuration once, and ok", "metrics that differ"],
            [[str(sum(done.values())), *(str(done[one]) for one in ("job", "sweeper", "both")), str(starts), f"{seconds / 60:.1f}",
              "yes" if once else f"no: {Counter(one[1] for one in shaken)}, {len(shaken)} records", f"{len(differing)} of {compared}"]],
        ),
        "",
        "Compared to the bit with an undisturbed sweep: all metrics but those of time, memory and energy.",
        *[f"- {one}" for one in differing[:10]],
        *([f"Left behind: {len(left)} directories that were being claimed; the next claim that is a minute later removes them."] if left else []),
    ]  # fmt: skip
    _report.publish("killing", "A sweep under fire", lines, options.results)
    sys.exit(not once or bool(differing))


if __name__ == "__main__":
    main()
