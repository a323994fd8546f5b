"""Which metrics of two runs are measured in arms, and what the arms are told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thrifty.config import registry
from thrifty.config.choice import choice_of
from thrifty.engines.base import Engine
from thrifty.errors import BadConfiguration
from thrifty.execution import fork_server
from thrifty.execution.arm_worker import ArmSpec
from thrifty.execution.cores import freest_cores
from thrifty.record import usable_cores

_PREDICTION, _TRAINING = "thrifty.methods.workloads:prediction", "thrifty.methods.workloads:training"
_PREFILL, _DECODING = "thrifty.methods.sequence:prefill", "thrifty.methods.sequence:decoding"
_ENTRIES = {
    "infer/latency_ms": _PREDICTION,
    "infer/samples_per_s": _PREDICTION,
    "infer/prefill_ms": _PREFILL,
    "infer/decode_ms": _DECODING,
    "infer/tokens_per_s": _DECODING,
    "train/step_ms": _TRAINING,
    "train/samples_per_s": _TRAINING,
}
_BATCH = re.compile(r"infer/batch_(\d+)/(latency_ms|samples_per_s)")
_MOST_AT_ONCE = 16384
"""Examples, where a run trained with all of its data in a batch."""


@dataclass(frozen=True)
class Run:
    """A run to compare."""

    path: Path
    record: dict[str, Any]

    @property
    def threads(self) -> int:
        """As it was measured with, of as many as there are here."""
        return min(int(self.record["environment"].get("threads") or 1), usable_cores())

    @property
    def device(self) -> str:
        """Where it computed."""
        return self.record["environment"].get("device") or "cpu"

    @property
    def engine(self) -> dict[str, Any]:
        """The values of what executed it; early records have only its name."""
        engine = self.record.get("config", {}).get("engine") or "eager"
        return engine if isinstance(engine, dict) else {"name": engine}


def default_metrics(runs: tuple[Run, Run]) -> list[str]:
    """What people compare first: how good, how fast, how large."""
    deciding = {one.record["data"].get("deciding") for one in runs}
    quality = [f"quality/{deciding.pop()}"] if len(deciding) == 1 and None not in deciding else []
    return [*quality, "infer/latency_ms", "size/file_mib", "size/parameters"]


def entry_of(metric: str) -> str | None:
    """What measures a metric in arms; None where nothing does."""
    return _PREDICTION if _BATCH.fullmatch(metric) else _ENTRIES.get(metric)


def is_by_call(metric: str) -> bool:
    """Whether the metric is the time of a whole call, and not by example."""
    return metric.endswith(("latency_ms", "step_ms"))


def get_ready(metrics: Sequence[str], runs: tuple[Run, Run]) -> str | None:
    """Begin the imports that the arms of these metrics need; returns what the fork server holds, None where none is needed."""
    if not any(map(entry_of, metrics)):
        return None
    preload = fork_server.RUNS if _TRAINING in map(entry_of, metrics) else fork_server.ARMS
    predicting = {_PREDICTION, _PREFILL, _DECODING}
    engines = [] if predicting.isdisjoint(map(entry_of, metrics)) else _engines(runs)
    with settings_of(engines, max(one.threads for one in runs)):
        fork_server.warm_up(preload, preloads_of(engines))
    return preload


def settings_of(engines: Sequence[Engine], threads: int) -> AbstractContextManager[None]:
    """Within it, fork servers start as arms with these engines want them, which have so many threads at most."""
    further = {name: value for one in engines for name, value in one.in_arms.items()}
    return fork_server.told(threads > 1 and not any(one.exports for one in engines), further)


def preloads_of(engines: Sequence[Engine]) -> list[str]:
    """What a fork server is to import for them."""
    return list(dict.fromkeys(one.preload for one in engines if one.preload is not None))


def _engines(runs: tuple[Run, Run]) -> list[Engine]:
    configs = [choice_of("engine", one.engine) for one in runs]
    return [registry.load("engine", one.name)(one) for one in configs]


def specs_of(metric: str, runs: tuple[Run, Run]) -> tuple[ArmSpec, ArmSpec]:
    """The two arms of a metric that has an entry, on the same cores.

    Raises:
        BadConfiguration: a run's training took several processes.
    """
    entry = entry_of(metric)
    assert entry is not None, metric
    cores = freest_cores(max(one.threads for one in runs))
    first, second = (ArmSpec(entry, _options(metric, entry, one), one.threads, cores) for one in runs)
    return first, second


def _options(metric: str, entry: str, run: Run) -> dict[str, Any]:
    if entry == _TRAINING:
        devices = run.record.get("config", {}).get("devices", 1)
        if devices > 1:
            raise BadConfiguration(f"devices={devices}: an arm is one process, and that run's step took {devices}")
        return {"overrides": [one for one in run.record["overrides"] if not one.startswith("checkpoint=")]}
    options = {"run": str(run.path.resolve()), "config_hash": run.record["config_hash"], "device": run.device}
    options |= {"engine": run.engine}
    return options | {"batch_size": _batch_size(metric, run)} if entry == _PREDICTION else options


def _batch_size(metric: str, run: Run) -> int:
    if metric == "infer/latency_ms":
        return 1
    given = _BATCH.fullmatch(metric)
    return int(given[1]) if given else min(int(run.record["data"].get("batch_size") or 1), _MOST_AT_ONCE)
