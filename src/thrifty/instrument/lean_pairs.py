"""Loading, first call and memory of two runs: pairs of fresh interpreters, one after the other, as nothing else is lean."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence

from thrifty.execution.lean import LeanFailed, LeanMeasurement, LeanProcess, LeanTask, alone, compiles
from thrifty.instrument.arms import Run
from thrifty.instrument.pairs import Measured, PairFailed, Plan, judged
from thrifty.measure.comparison import Pair, compare
from thrifty.measure.conditions import Watch
from thrifty.methods.loading import LEAN


class Untold(Exception):
    """A metric that this system does not tell of such a process."""


class LeanPairs:
    """Measured once, when the first metric is asked for; all metrics are of the same processes.

    Args:
        metrics: those of LEAN whose intervals are to be narrow.
        tell: hears of every pair.
    """

    def __init__(
        self,
        runs: tuple[Run, Run],
        metrics: Sequence[str],
        plan: Plan,
        noise_floor: float = 0.0,
        tell: Callable[[str, Measured], None] = lambda name, found: None,
    ) -> None:
        self.tasks = [
            LeanTask(str(one.path.resolve()), 1, one.device, one.threads, one.record["config_hash"], one.engine) for one in runs
        ]
        self.metrics, self.plan, self.noise_floor, self.tell = metrics, plan, noise_floor, tell
        self._measured: dict[str, Measured] = {}
        self._failed: PairFailed | None = None

    def found(self, metric: str) -> Measured:
        """What all pairs gave for a metric.

        Raises:
            PairFailed: a process could not do it.
            Untold: the system does not tell.
        """
        if self._failed is not None:
            raise self._failed
        if not self._measured:
            try:
                self._measure()
            except PairFailed as failed:
                self._failed = failed
                raise
        found = self._measured[metric]
        if not found.pairs:
            raise Untold("the system does not tell")
        return found

    def _measure(self) -> None:
        order = random.Random(0)
        for place, task in enumerate(self.tasks):
            if compiles(task.engine):  # which is no part of what is asked, and would be of some processes only
                self._said(place)
        self._measured = {name: Measured() for name in self.metrics}
        begin = time.perf_counter()
        with Watch() as watch:
            made = 0
            while made < self.plan.most_pairs:
                started = time.perf_counter()
                self._pair(order)
                made, now = made + 1, time.perf_counter()
                if all(self._suffices(one, now - begin, now - started) for one in self._measured.values()):
                    break
        for one in self._measured.values():
            one.conditions = watch.conditions
            if one.pairs:
                one.comparison = judged(one.pairs, self.noise_floor, watch.conditions)

    def _pair(self, order: random.Random) -> None:
        """One interpreter of each run, in random order."""
        values: list[LeanMeasurement | None] = [None, None]
        turn = order.sample((0, 1), 2)
        for place in turn:
            values[place] = self._said(place)
        for name, found in self._measured.items():
            first, second = (LEAN[name](one) for one in values if one is not None)
            if first and second and math.isfinite(first) and math.isfinite(second):
                found.pairs.append(Pair([first], [second], turn[0] == 1))
            self.tell(name, found)

    def _said(self, place: int) -> LeanMeasurement:
        with LeanProcess(engine=alone(self.tasks[place].engine)) as process:
            said = process.measure(self.tasks[place])
        if isinstance(said, LeanFailed):
            raise PairFailed(place, said.status, said.reason)
        return said

    def _suffices(self, found: Measured, spent_s: float, pair_s: float) -> bool:
        found.seconds = spent_s
        found.comparison = compare(found.pairs, self.noise_floor) if len(found.pairs) > 1 else None
        if not found.pairs:
            return True  # it is not told, and more processes would not change that
        return found.comparison is not None and self.plan.suffices(found.comparison, spent_s, pair_s)
