"""Two runs side by side: what can be measured is measured in interleaved pairs, quality is paired over examples."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.errors import BadConfiguration
from thrifty.execution import fork_server
from thrifty.execution.arm_worker import ArmSpec
from thrifty.execution.cores import freest_cores
from thrifty.instrument.pairs import Measured, PairFailed, Plan, measure
from thrifty.instrument.quality import paired
from thrifty.measure.statistics import Interval
from thrifty.metrics import metric
from thrifty.record import usable_cores

_EXACT = ("size/", "infer/flops_per_sample", "train/flops")
_PREDICTION, _TRAINING = "thrifty.methods.workloads:prediction", "thrifty.methods.workloads:training"
_BATCH = re.compile(r"infer/batch_(\d+)/(latency_ms|samples_per_s)")
_SAME, _UNRESOLVED, _NOT = "the same", "no difference resolved", "not compared"


@dataclass(frozen=True)
class Run:
    """A run to compare."""

    path: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """What became of one metric."""

    metric: str
    verdict: str
    how: str
    values: tuple[float | None, float | None] = (None, None)
    """As the records have them, of single runs one after the other: for the size of things, not for the difference."""
    change: Interval | None = None
    """Second against first: a share (0.03 is 3 % more), or for quality a difference in the metric's unit."""
    relative: bool = True
    claimed: bool = False
    resolvable: float | None = None
    """The smallest change that would as a rule have been claimed, as a share."""
    noise_floor: float | None = None
    seconds: float = 0.0
    flags: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """Seconds by example of every block of every pair."""
    settings: dict[str, Any] | None = None

    @property
    def better(self) -> str | None:
        """`second`, `first`, or None where neither is known to be."""
        direction = metric(self.metric).better
        if not self.claimed or self.change is None or not direction:
            return None
        return "second" if (self.change.value > 0) == (direction == "higher") else "first"


def default_metrics(runs: tuple[Run, Run]) -> list[str]:
    """What people compare first: how good, how fast, how large."""
    deciding = {one.record["data"].get("deciding") for one in runs}
    quality = [f"quality/{deciding.pop()}"] if len(deciding) == 1 and None not in deciding else []
    return [*quality, "infer/latency_ms", "size/file_mib", "size/parameters"]


def compare_runs(
    runs: tuple[Run, Run],
    metrics: Sequence[str],
    plan: Plan,
    noise_floor: float | None,
    tell: Callable[[str, Measured], None] = lambda name, found: None,
) -> list[Finding]:
    """A finding for each metric, in order; one that cannot be compared says why, and the others go on.

    Args:
        plan: of each metric that is measured.
        noise_floor: of this machine, as a share; None where it was never measured.
        tell: hears of every pair.

    Raises:
        BadConfiguration: a metric there is not.
    """
    for name in metrics:
        metric(name)
    training = any(_workload(name) == _TRAINING for name in metrics)
    if any(_threads(one) > 1 for one in runs):
        os.environ.setdefault("OMP_PROC_BIND", "true")  # each thread keeps its core: less wandering, less scatter
    preload = fork_server.RUNS if training else fork_server.ARMS
    if any(_workload(name) for name in metrics):
        predicts = any(_workload(name) == _PREDICTION for name in metrics)
        fork_server.warm_up(preload, _engine_imports(runs) if predicts else ())
    return [_find(name, runs, plan, noise_floor, preload, tell) for name in metrics]


def _find(
    name: str,
    runs: tuple[Run, Run],
    plan: Plan,
    noise_floor: float | None,
    preload: str,
    tell: Callable[[str, Measured], None],
) -> Finding:
    values = _recorded(name, runs)
    if name.startswith("quality/"):
        return with_quality(name, runs)
    if is_exact(name):
        return exact(name, runs)
    entry = _workload(name)
    if entry is None:
        return Finding(name, _NOT, "a single number of each run: train several seeds and compare those", values)
    try:
        specs = _specs(name, entry, runs)
        found = measure(*specs, plan, noise_floor or 0.0, on_pair=lambda now: tell(name, now), preload=preload)
    except PairFailed as failed:
        which = ("first", "second")[failed.place]
        return Finding(name, _NOT, f"the {which} run: {failed.error.status}: {failed.error.reason}", values)
    except BadConfiguration as error:
        return Finding(name, _NOT, str(error), values)
    return _timed(name, found, values, noise_floor)


def _workload(name: str) -> str | None:
    """What measures a metric in arms; None where nothing does."""
    if name in ("infer/latency_ms", "infer/samples_per_s") or _BATCH.fullmatch(name):
        return _PREDICTION
    return _TRAINING if name in ("train/step_ms", "train/samples_per_s") else None


def _specs(name: str, entry: str, runs: tuple[Run, Run]) -> tuple[ArmSpec, ArmSpec]:
    threads = [_threads(one) for one in runs]
    cores = freest_cores(max(threads))
    specs = []
    for run, count in zip(runs, threads, strict=True):
        options: dict[str, Any]
        if entry == _TRAINING:
            options = {"overrides": [one for one in run.record["overrides"] if not one.startswith("checkpoint=")]}
        else:
            options = {
                "run": str(run.path.resolve()),
                "config_hash": run.record["config_hash"],
                "batch_size": _batch_size(name, run),
                "device": run.record["environment"].get("device") or "cpu",
                "engine": engine_values(run),
            }
        specs.append(ArmSpec(entry, options, count, cores))
    return specs[0], specs[1]


def _batch_size(name: str, run: Run) -> int:
    if name == "infer/latency_ms":
        return 1
    given = _BATCH.fullmatch(name)
    return int(given[1]) if given else min(int(run.record["data"].get("batch_size") or 1), 16384)


def engine_values(run: Run) -> dict[str, Any]:
    """The values of a run's engine; early records have only its name."""
    engine = run.record["config"].get("engine") or "eager"
    return engine if isinstance(engine, dict) else {"name": engine}


def _engine_imports(runs: tuple[Run, Run]) -> list[str]:
    """Modules that the arms' engines need, for the fork server to hold."""
    configs = [choice_of("engine", engine_values(run)) for run in runs]
    modules = (registry.load("engine", one.name)(one).preload for one in configs)
    return list(dict.fromkeys(one for one in modules if one is not None))


def _threads(run: Run) -> int:
    return min(int(run.record["environment"].get("threads") or 1), usable_cores())


def _timed(name: str, found: Measured, values: tuple[float | None, float | None], noise_floor: float | None) -> Finding:
    comparison = found.comparison
    assert comparison is not None
    rate = metric(name).unit == "1/s"
    by_call = not rate and found.ready is not None
    factor = found.ready[1].examples / found.ready[0].examples if by_call and found.ready else 1.0
    ratio = comparison.ratio
    change = _share(ratio, factor, inverse=rate)
    flags = [*([] if comparison.halves_agree else ["drift"]), *(["recompiled"] if found.recompiled else [])]
    verdict = _UNRESOLVED
    if comparison.differs:
        verdict = f"second {'higher' if change.value > 0 else 'lower'}"
    elif not comparison.halves_agree:
        verdict = "withheld: the first half of the pairs and the second disagree; measure again"
    return Finding(
        name,
        verdict,
        f"{ratio.n} pairs of fresh processes, {len(found.pairs[-1].first)} blocks each",
        values,
        change,
        claimed=comparison.differs,
        resolvable=comparison.resolvable if math.isfinite(comparison.resolvable) else None,
        noise_floor=noise_floor,
        seconds=found.seconds,
        flags=flags,
        samples=[vars(pair) for pair in found.pairs],
        settings=found.ready[0].settings if found.ready else None,
    )


def _share(ratio: Interval, factor: float, inverse: bool) -> Interval:
    """A ratio of times as a change of the metric: 0.03 is 3 % more."""

    def one(value: float | None) -> float | None:
        return None if value is None else (1 / value if inverse else value * factor) - 1

    bounds = (one(ratio.high), one(ratio.low)) if inverse else (one(ratio.low), one(ratio.high))
    value = one(ratio.value)
    assert value is not None
    return Interval(value, *bounds, ratio.n)


def _recorded(name: str, runs: tuple[Run, Run]) -> tuple[float | None, float | None]:
    first, second = ((one.record["metrics"].get(name) or {}).get("value") for one in runs)
    return first, second


def with_quality(name: str, runs: tuple[Run, Run]) -> Finding:
    """Quality of two runs, paired over examples."""
    values = _recorded(name, runs)
    found = paired(name, (runs[0].record, runs[1].record), (runs[0].path, runs[1].path))
    if isinstance(found, str):
        return Finding(name, _NOT, found, values, relative=False)
    how = f"paired over {found.difference.n} examples, {found.test}"
    if found.p_value is not None:
        how += f" p={found.p_value:.2g}"
    verdict = f"second {'higher' if found.difference.value > 0 else 'lower'}" if found.differs else _UNRESOLVED
    half = None if found.difference.high is None else found.difference.high - found.difference.value
    return Finding(name, verdict, how, values, found.difference, relative=False, claimed=found.differs, resolvable=half)


def is_exact(name: str) -> bool:
    """Whether a metric is counted and not measured, so that any difference is one."""
    return name.startswith(_EXACT)


def exact(name: str, runs: tuple[Run, Run]) -> Finding:
    """A counted metric of two runs."""
    first, second = values = _recorded(name, runs)
    if first is None or second is None:
        return Finding(name, _NOT, "a run has no such metric", values)
    if first == second:
        return Finding(name, _SAME, "exact", values, Interval(0.0))
    change = Interval(second / first - 1) if first else None
    return Finding(name, f"second {'higher' if second > first else 'lower'}", "exact", values, change, claimed=True)


def with_budget(plan: Plan, pairs: int | None, seconds: float | None) -> Plan:
    """The plan as the command line changes it: so many pairs exactly, or as many as fit a time."""
    if pairs is not None:
        return replace(plan, pairs=pairs, most_pairs=pairs, half_width=0.0)
    if seconds is not None:
        return replace(plan, seconds=seconds)
    return plan
