"""Two runs side by side: what can be measured is measured in interleaved pairs, quality is paired over examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from thrifty.errors import BadConfiguration
from thrifty.execution import fork_server
from thrifty.instrument.arms import Run, entry_of, get_ready, is_by_call, specs_of
from thrifty.instrument.lean_pairs import LeanPairs, Untold
from thrifty.instrument.pairs import Measured, PairFailed, Plan, measure
from thrifty.instrument.quality import paired
from thrifty.measure.comparison import Pair, bootstrap
from thrifty.measure.statistics import Interval
from thrifty.methods.loading import LEAN
from thrifty.metrics import metric

_EXACT = ("size/", "infer/flops_per_sample", "train/flops")
_SAME, _UNRESOLVED, _NOT = "the same", "no difference resolved", "not compared"


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
    bootstrap: Interval | None = None
    """The same with the interval that drawing the pairs again gives: it stands beside, and decides nothing."""
    relative: bool = True
    claimed: bool = False
    resolvable: float | None = None
    """The smallest change that would as a rule have been claimed, as a share."""
    noise_floor: float | None = None
    seconds: float = 0.0
    flags: list[str] = field(default_factory=list)
    conditions: dict[str, Any] | None = None
    """What was going on meanwhile."""
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
    preload = get_ready(metrics, runs)
    if preload is not None:
        fork_server.wait_until_ready(preload)
    lean = LeanPairs(runs, [name for name in metrics if name in LEAN], plan, noise_floor or 0.0, tell)

    def find(name: str) -> Finding:
        values = _recorded(name, runs)
        try:
            if name.startswith("quality/"):
                return with_quality(name, runs)
            if is_exact(name):
                return exact(name, runs)
            if name in LEAN:
                return _timed(name, lean.found(name), values, noise_floor)
            if entry_of(name) is None:
                return Finding(name, _NOT, "a single number of each run: train several seeds and compare those", values)
            specs = specs_of(name, runs)
            found = measure(
                *specs, plan, noise_floor or 0.0, on_pair=lambda now: tell(name, now), preload=preload or fork_server.ARMS
            )
            return _timed(name, found, values, noise_floor)
        except PairFailed as failed:
            which = ("first", "second")[failed.place]
            return Finding(name, _NOT, f"the {which} run: {failed.status}: {failed}", values)
        except (BadConfiguration, Untold) as error:
            return Finding(name, _NOT, str(error), values)

    return [find(name) for name in metrics]


def _timed(name: str, found: Measured, values: tuple[float | None, float | None], noise_floor: float | None) -> Finding:
    comparison = found.comparison
    assert comparison is not None
    rate = metric(name).unit == "1/s"
    # Arms tell the time by example; the time of a call is that of as many as each has in one.
    factor = found.ready[1].examples / found.ready[0].examples if is_by_call(name) and found.ready else 1.0
    change = _share(comparison.ratio, factor, rate)
    again = bootstrap(found.pairs) if len(found.pairs) > 2 else None
    verdict = _UNRESOLVED
    if comparison.differs:
        verdict = f"second {'higher' if change.value > 0 else 'lower'}"
    elif comparison.withheld is not None:
        verdict = f"withheld: {comparison.withheld}; measure again"
    return Finding(
        name,
        verdict,
        f"{comparison.ratio.n} pairs of fresh processes{_blocks(found.pairs)}",
        values,
        change,
        bootstrap=None if again is None else _share(again, factor, rate),
        claimed=comparison.differs,
        resolvable=comparison.resolvable if math.isfinite(comparison.resolvable) else None,
        noise_floor=noise_floor,
        seconds=found.seconds,
        flags=[
            *([] if comparison.halves_agree else ["drift"]),
            *(["recompiled"] if found.recompiled else []),
            *(found.conditions.flags() if found.conditions else []),
        ],
        conditions=found.conditions.as_record() if found.conditions else None,
        samples=[vars(pair) for pair in found.pairs],
        settings=found.ready[0].settings if found.ready else None,
    )


def _blocks(pairs: Sequence[Pair]) -> str:
    return f", {len(pairs[-1].first)} blocks each" if len(pairs[-1].first) > 1 else ""


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
        return replace(plan, most_pairs=pairs, half_width=0.0, seconds=math.inf)
    if seconds is not None:
        return replace(plan, seconds=seconds)
    return plan
