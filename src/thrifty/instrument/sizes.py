"""What a search's candidates weigh: the file of their weights, or the memory that predicting takes, over the dense model's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from thrifty.instrument.arms import Run
from thrifty.instrument.lean_pairs import LeanPairs, Untold
from thrifty.instrument.looks import Weights
from thrifty.instrument.pairs import PairFailed, Plan
from thrifty.instrument.race import Standing
from thrifty.measure.statistics import Interval
from thrifty.store import read_record

_MEMORY = "infer/peak_host_mib"
_MEMORY_PAIRS = Plan(most_pairs=2, half_width=0.0)


def file_mib(weights: Weights) -> float:
    """Of the file; infinite where its record does not say."""
    entry = read_record(weights.path)["metrics"].get("size/file_mib") or {}
    return entry.get("value") or math.inf


@dataclass(frozen=True)
class Sizes:
    """Tells them of candidates, which are finalists then, or have a reason why not.

    Args:
        baseline: the way in which the dense model predicts.
        weights: by quantizer.
        engines: values by name.
        tell: receives a sentence on what is being done.
    """

    baseline: Standing
    weights: Mapping[str, Weights]
    engines: Mapping[str, dict[str, Any]]
    device: str
    tell: Callable[[str], None]

    def file(self, one: Standing) -> bool:
        """Counted."""
        dense, its = (file_mib(self.weights[each.candidate.quantizer]) for each in (self.baseline, one))
        one.ratio = Interval(its / dense)
        one.status = "finalist"
        return True

    def memory(self, one: Standing) -> bool:
        """Measured, in pairs of lean processes; says whether it could be."""
        self.tell(f"measuring memory: {one.candidate.name}")
        begin = time.perf_counter()
        runs = self._run(self.baseline), self._run(one)
        try:
            comparison = LeanPairs(runs, [_MEMORY], _MEMORY_PAIRS).found(_MEMORY).comparison
            assert comparison is not None
            one.ratio, one.status = comparison.ratio, "finalist"
        except (PairFailed, Untold) as error:
            one.status, one.why = "failed", str(error)
        one.seconds += time.perf_counter() - begin
        return one.ratio is not None

    def _run(self, one: Standing) -> Run:
        """A run as a candidate would execute it."""
        path = self.weights[one.candidate.quantizer].path
        record = read_record(path)
        config = {**record["config"], "engine": self.engines[one.candidate.engine]}
        environment = {**record["environment"], "threads": one.candidate.threads, "device": self.device}
        return Run(path, {**record, "config": config, "environment": environment})
