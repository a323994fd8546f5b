"""What the instrument itself takes, and how long comparisons do: python tests/benchmarks/instrument.py"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import _pairs
import _report
from _commands import THRIFTY, output_of

from thrifty.execution.arm_worker import LEAD_IN_SHARE, Turns, timed_block
from thrifty.execution.arms import Arm
from thrifty.execution.cores import freest_cores
from thrifty.instrument.reference import REFERENCE

READY_S, COST, COMPARISON_S = 0.1, 1.01, {"nano": 5.0, "small": 20.0}
"""What is asked for."""
BLOCK_S = 0.02
READINGS = 10_000
"""A sample of a run is as long as so many readings of the clock."""
WARM_UP, BLOCKS = 2, 30
MODELS = {
    "GPT nano, one prediction": REFERENCE.options,
    "MLP nano, one prediction": {
        "architecture": {"name": "mlp", "widths": [128, 64, 32]},
        "shape": {"inputs": 30, "outputs": 1},
        "precision": {"name": "fp32"},
        "batch_size": 1,
    },
}


READY = """
import statistics, sys, time
from dataclasses import replace
from thrifty.execution import fork_server
from thrifty.execution.arms import Arm
from thrifty.execution.cores import freest_cores
from thrifty.instrument.reference import REFERENCE
fork_server.wait_until_ready(fork_server.ARMS)
taken = []
for _ in range(int(sys.argv[1])):
    spec = replace(REFERENCE, cores=freest_cores(1))
    begin = time.perf_counter()
    with Arm(spec) as arm:
        arm.ready()
        taken.append(time.perf_counter() - begin)
print(statistics.median(taken))
"""
"""A program of its own: workers import the main module of the program that starts them, and this one's takes half a second."""


def ready_row(arms: int) -> list[str]:
    """Seconds from asking for an arm to its first calls being over, nano GPT built and warmed up within."""
    done = subprocess.run([sys.executable, "-c", READY, str(arms)], capture_output=True, text=True, check=True)
    found = float(done.stdout)
    return [
        "a worker ready, median: process, nano GPT, warm-up",
        f"{1e3 * found:.1f} ms",
        f"{1e3 * READY_S:.0f} ms",
        met(found, READY_S),
    ]


def met(found: float, most: float) -> str:
    """A word on a figure and its limit."""
    return "met" if found <= most else "missed"


def timed(
    block_done: Callable[[float], None],
    emit: Callable[[Any], None],
    options: dict[str, Any],
    calls: int,
    shortest_s: float,
    how: str,
    lead_in: int,
    core: int | None,
) -> None:
    """Blocks of predictions: bare ones after as many untimed calls, as an arm makes them, or as a run times them."""
    import torch

    from thrifty.measure.own_clock import OwnClock
    from thrifty.measure.timing import clock_seconds, sample_calls
    from thrifty.methods.workloads import untrained

    torch.set_num_threads(1)
    if core is not None:
        os.sched_setaffinity(0, {core})
    workload, clock = untrained(**options), OwnClock()
    call, device = workload.call, workload.device
    at_once = max(1, math.ceil(READINGS * clock_seconds() / shortest_s))
    while True:
        if how == "bare":
            for _ in range(lead_in):
                call()
            begin = time.perf_counter()
            for _ in range(calls):
                call()
            told = time.perf_counter() - begin
        elif how == "in an arm":
            told = timed_block(workload, Turns(calls), clock).seconds
        else:
            samples, _ = sample_calls(call, device, max(1, calls // at_once), at_once, lambda taken, now: True)
            told = calls * float(samples.mean())
        block_done(told)


def cost_rows(pairs: int, blocks: int) -> list[list[str]]:
    """Wall time of the same calls, timed by us and not timed at all."""
    context, order, rows = _pairs.fork_server(), random.Random(0), []
    for what, options in MODELS.items():
        shortest = call_seconds(options)
        calls = max(1, round(BLOCK_S / shortest))
        for how, lead_in in (("in an arm", int(calls * LEAD_IN_SHARE)), ("in a run", 0)):
            taken = []
            for _ in range(pairs):
                (core,) = freest_cores(1) or (None,)
                common = {"options": options, "calls": calls, "shortest_s": shortest, "lead_in": lead_in, "core": core}
                arms = [_pairs.Arm(timed, {**common, "how": one}) for one in (how, "bare")]
                taken.append(_pairs.measure_pair(context, arms, WARM_UP, blocks, order))
            ratio = _pairs.ratio_of(taken)
            interval = "" if ratio.low is None else f" ({ratio.low:.3f} to {ratio.high:.3f})"
            rows.append(
                [f"{what}, timed {how}: seconds told over bare ones", f"{ratio.value:.3f}{interval}", f"{COST:.2f}",
                 _pairs.verdict(ratio, COST)]
            )  # fmt: skip
            print(rows[-1], file=sys.stderr)
    return rows


def call_seconds(options: dict[str, Any]) -> float:
    """Of one prediction."""
    with Arm(replace(REFERENCE, options=options)) as arm:
        return arm.ready().call_s


def comparison_rows(size: str, repetitions: int, folder: str) -> list[list[str]]:
    """Two runs of a size, compared as a user does: seconds of measuring, and of the whole command."""
    for seed in (1, 2):
        output_of([*THRIFTY, "run", f"model={size}", "budget.steps=3", "logger=none", "measure=none", f"seed={seed}"], folder)
    first, second = sorted(one.name for one in (Path(folder) / "results/runs").iterdir() if f"-{size}-" in one.name)
    measured, whole = [], []
    for _ in range(repetitions):
        begin = time.perf_counter()
        said = output_of([*THRIFTY, "compare", first, second, "--metric", "infer/latency_ms", "--json"], folder)
        whole.append(time.perf_counter() - begin)
        measured.append(json.loads(said)["findings"][0]["seconds"])
    found, most = statistics.median(measured), COMPARISON_S[size]
    return [
        [f"`thrifty compare` of two GPT {size}, median of {repetitions}", f"{found:.1f} s", f"{most:.0f} s", met(found, most)],
        ["the same, the whole command with its imports", f"{statistics.median(whole):.1f} s", "", ""],
    ]


def main() -> None:
    """Measure, print and write the table; exit 1 where a target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--repetitions", type=int, default=5, help="comparisons of each size (5)")
    parser.add_argument("--sizes", default="nano,small", help="sizes to compare (nano,small)")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of fresh processes for the cost (8)")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help=f"timed blocks of each ({BLOCKS})")
    parser.add_argument("--arms", type=int, default=20, help="workers to wait for (20)")
    options = parser.parse_args()
    rows = [ready_row(options.arms)]
    rows += cost_rows(options.pairs, options.blocks)
    with tempfile.TemporaryDirectory() as folder:
        for size in filter(None, options.sizes.split(",")):
            rows += comparison_rows(size, options.repetitions, folder)
            print(rows[-2], file=sys.stderr)
    lines = [
        "Latency, fp32, with as many threads as cores for the comparisons and one for the rest. The instrument's own cost is what",
        f"it adds to the time it tells: of the same calls, some {1e3 * BLOCK_S:.0f} ms of them, timed as an arm of a comparison does and as a",
        f"run does, over those of a bare loop, led in as the other is: {options.pairs} pairs of fresh processes that take turns, with the 95 %",
        "interval.",
        "",
        *_report.table(["what", "found", "at most", ""], rows),
    ]
    _report.publish("instrument", "What the instrument takes", lines, options.results)
    sys.exit(any(row[-1].startswith("missed") for row in rows))


if __name__ == "__main__":
    main()
