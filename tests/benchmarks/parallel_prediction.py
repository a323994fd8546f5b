"""What processes, threads and batch sizes are worth for prediction: python tests/benchmarks/parallel_prediction.py

Some eight minutes on two cores. Every way of predicting is ready before the first is timed; then each gets its turn in every round, in
random order, for the same time. What it predicts is compared with one process of one thread on one core, which has its turn in the same
round and neither passes batches on nor shares its core with a parent.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import _report
import numpy as np
import torch
from _commands import RUN, output_of
from _pairs import verdict

from thrifty.execution import affinity, fork_server
from thrifty.execution.prediction_pool import PredictionPool
from thrifty.execution.prediction_worker import PredictorSpec
from thrifty.formats.safetensors import read_manifest
from thrifty.measure.statistics import Interval, mean_interval
from thrifty.methods.model import architecture_of, example_inputs
from thrifty.methods.prediction import OF_RUN, of_run
from thrifty.record import usable_cores
from thrifty.store import read_record

LEAST = 1.8
"""Times one core's throughput, on two."""
COMMON = ["logger=none", "measure=none", "budget.steps=5"]
CASES = {
    "mlp nano, table": (["task=tabular", "model=nano"], (1024, 8192)),
    "mlp base, table": (["task=tabular", "model=base"], (256, 1024, 4096)),
    "vit nano, digits": (["task=image", "architecture=vit", "model=nano"], (16, 64, 256)),
    "vit tiny, digits": (["task=image", "architecture=vit", "model=tiny"], (16, 64, 256)),
}


@dataclass(frozen=True)
class Way:
    """A way of predicting; no processes is this one, held to a core."""

    processes: int
    threads: int
    batch_size: int


Map = Callable[[Iterable[torch.Tensor]], Iterator[torch.Tensor]]


def alone(predict: Callable[[torch.Tensor, int], torch.Tensor]) -> Map:
    """One thread of this process on one core: another one in every round, as one may have the busier neighbours."""
    rounds = itertools.count()

    def mapped(batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        before = affinity.cores()
        affinity.hold_process(None if before is None else [before[next(rounds) % len(before)]])
        try:
            for inputs in batches:
                yield predict(inputs, len(inputs))
        finally:
            affinity.hold_process(before)

    return mapped


def examples_per_s(mapped: Map, inputs: torch.Tensor, seconds: float) -> float:
    """Of all that was predicted by the time the last batch was back."""
    begin = time.perf_counter()
    done = sum(len(outputs) for outputs in mapped(again(inputs, begin + seconds)))
    return done / (time.perf_counter() - begin)


def again(inputs: torch.Tensor, end: float) -> Iterator[torch.Tensor]:
    """The same batch until it is time."""
    while time.perf_counter() < end:
        yield inputs


def rounds_of(ways: dict[Way, Map], inputs: torch.Tensor, seconds: float, rounds: int) -> dict[Way, list[float]]:
    """Examples a second of each way in each round."""
    for way, mapped in ways.items():  # ready for their shapes, and warm
        examples_per_s(mapped, inputs[: way.batch_size], seconds / 2)
    order, found = random.Random(0), {way: [] for way in ways}
    for _ in range(rounds):
        for way in order.sample(list(ways), len(ways)):
            found[way].append(examples_per_s(ways[way], inputs[: way.batch_size], seconds))
    return found


def ratio(first: list[float], second: list[float]) -> Interval:
    """The mean log ratio of the rounds, with t over them."""
    logs = mean_interval(np.log(first) - np.log(second))
    low, high = (None if one is None else math.exp(one) for one in (logs.low, logs.high))
    return Interval(math.exp(logs.value), low, high, logs.n)


def shown(one: Interval) -> str:
    """A ratio and its interval."""
    return f"{one.value:.2f}" + ("" if one.low is None else f" ({one.low:.2f} to {one.high:.2f})")


def measure(run: Path, sizes: tuple[int, ...], seconds: float, rounds: int, cores: int) -> dict[Way, list[float]]:
    """One model in every way."""
    manifest, record = read_manifest(run), read_record(run)
    options = {"run": str(run), "config_hash": record["config_hash"], "engine": {"name": "eager"}}
    inputs = example_inputs(architecture_of(manifest), manifest["shape"], max(sizes))
    predict = of_run(**options)
    ways: dict[Way, Map] = {Way(0, 1, size): alone(predict) for size in sizes}
    shares = [(1, 1), *((count, cores // count) for count in range(1, cores + 1) if cores % count == 0)]
    with contextlib.ExitStack() as open_pools:
        for processes, threads in dict.fromkeys(shares):
            pool = open_pools.enter_context(PredictionPool(PredictorSpec(OF_RUN, options, threads), processes))
            pool.wait_until_ready()
            ways |= {Way(processes, threads, size): pool.map for size in sizes}
        return rounds_of(ways, inputs, seconds, rounds)


def rows_of(name: str, found: dict[Way, list[float]], cores: int) -> tuple[list[list[str]], Interval]:
    """A model's lines, and the best way on all cores over the best on one."""
    middle = {way: float(np.median(rates)) for way, rates in found.items()}
    one_core = [way for way in found if way.processes == 0]
    best_alone = max(one_core, key=middle.__getitem__)
    best = max((way for way in found if way.processes * way.threads == cores > 1 or cores == 1), key=middle.__getitem__)
    rows = []
    for way, rates in found.items():
        used = max(1, way.processes * way.threads)
        same = next(one for one in one_core if one.batch_size == way.batch_size)
        rows.append(
            [
                name,
                "this one" if not way.processes else str(way.processes),
                str(way.threads),
                str(way.batch_size),
                f"{middle[way]:,.0f}",
                f"{middle[way] / used:,.0f}",
                "" if way is same else shown(ratio(rates, found[same])),
                "" if way is best_alone else shown(ratio(rates, found[best_alone])),
                "best" if way in (best, best_alone) else "",
            ]
        )
    return rows, ratio(found[best], found[best_alone])


def main() -> None:
    """Measure, print and write the table; exit 1 where a model is below the target."""
    parser = _report.parser(__doc__)
    parser.add_argument("--only", default="", help="only models with this in their name")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in each round")
    options = parser.parse_args()
    cores = usable_cores()
    torch.set_num_threads(1)
    fork_server.wait_until_ready(fork_server.ARMS)
    rows: list[list[str]] = []
    targets: list[list[str]] = []
    missed = False
    for name, (typed, sizes) in CASES.items():
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            output_of([*RUN, *typed, *COMMON], folder)
            (result,) = Path(folder).glob("results/runs/*/result.json")
            found = measure(result.parent, sizes, options.seconds, options.rounds, cores)
        lines, best = rows_of(name, found, cores)
        rows += lines
        # `verdict` tells whether a ratio is at most something: what is asked here is at least.
        turned = Interval(1 / best.value, best.high and 1 / best.high, best.low and 1 / best.low, best.n)
        targets.append(
            [name, shown(best), f"{LEAST:.1f}" if cores == 2 else "", verdict(turned, 1 / LEAST) if cores == 2 else ""]
        )
        missed |= cores == 2 and best.value < LEAST
        print(targets[-1], file=sys.stderr)
    lines = [
        f"The best way on all {cores} cores over the best on one, each at the batch size that suits it:",
        "",
        *_report.table(["model", "times one core", "at least", ""], targets),
        "",
        f"Every way has {options.seconds:g} s in each of {options.rounds} rounds, in random order; rates are medians, ratios means over the",
        "rounds with 95 % intervals, to one process of one thread on one core in the same round. \"This one\" is that: no other process,",
        "nothing passed on. The others get batches from a parent, which runs on the same cores.",
        "",
        *_report.table(
            [
                "model",
                "processes",
                "threads each",
                "batch size",
                "examples a second",
                "by core",
                "times one core, same batch",
                "times one core, its best",
                "",
            ],
            rows,
        ),
    ]  # fmt: skip
    _report.publish("parallel_prediction", "Prediction by several processes", lines, options.results)
    sys.exit(missed)


if __name__ == "__main__":
    main()
