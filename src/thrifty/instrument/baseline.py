"""A run against a record that was kept, of another day or another machine: weaker than pairs, and it says by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from thrifty.instrument.arms import Run
from thrifty.instrument.comparison import Finding, exact, is_exact, with_quality
from thrifty.measure.statistics import Interval
from thrifty.metrics import metric

SMALLEST_AGAINST = 0.10
"""Share below which nothing is claimed against a kept record: the same configuration, run again, scatters by 2 to 3 % in latency
even on the same machine and when scaled by the canary, and the canary is not the model."""
BETWEEN_RUNS = 0.03
"""Standard deviation of the log of a canary-scaled time from run to run of the same configuration."""
SPOILS = ("stolen_time", "canary_drift", "throttled", "swapping", "busy_machine")
"""Flags of either record that withhold a claim: nothing here cancels what was going on meanwhile."""
_TIMES = ("ms", "s")
_Z = 1.959963984540054


def against(baseline: Run, run: Run, metrics: Sequence[str]) -> list[Finding]:
    """The run's metrics against the kept record's, times scaled by how fast each machine was on the day, by its canary.

    Raises:
        BadConfiguration: a metric there is not.
    """
    found = []
    for name in metrics:
        declared = metric(name)
        if name.startswith("quality/"):
            found.append(with_quality(name, (baseline, run)))
        elif is_exact(name):
            found.append(exact(name, (baseline, run)))
        elif declared.unit in (*_TIMES, "1/s"):
            found.append(_scaled(name, baseline.record, run.record, rate=declared.unit == "1/s"))
        else:
            found.append(Finding(name, "not compared", "only times, rates, sizes and quality compare with a kept record"))
    return found


def _scaled(name: str, first: dict[str, Any], second: dict[str, Any], rate: bool) -> Finding:
    entries = [one["metrics"].get(name) or {"value": None} for one in (first, second)]
    before, after = pace(first), pace(second)
    values = (entries[0]["value"], entries[1]["value"])
    if values[0] is None or values[1] is None:
        return Finding(name, "not compared", "a record has no such metric", values)
    if before is None or after is None:
        return Finding(
            name, "not compared", "a record tells nothing of its machine's pace (measure=none, or an older version)", values
        )
    machine = math.log(after.value / before.value)
    log = math.log(values[1] / values[0]) + (machine if rate else -machine)
    variance = sum(_variance(one) for one in entries) + _spread(before) ** 2 + _spread(after) ** 2 + 2 * BETWEEN_RUNS**2
    half = _Z * math.sqrt(variance)
    change = Interval(math.expm1(log), math.expm1(log - half), math.expm1(log + half), 2)
    spoilt = sorted({flag for one in (first, second) for flag in one["flags"] if flag in SPOILS})
    differs = abs(log) > max(half, math.log1p(SMALLEST_AGAINST))
    verdict = "no difference resolved"
    if spoilt:
        verdict = f"withheld: {', '.join(spoilt)}"
    elif differs:
        verdict = f"second {'higher' if log > 0 else 'lower'}"
    return Finding(
        name,
        verdict,
        f"single runs, scaled by the machine's pace ({100 * math.expm1(machine):+.1f} % canary time); much weaker than pairs: "
        f"nothing below {100 * SMALLEST_AGAINST:.0f} % is claimed, where `thrifty compare RUN_A RUN_B` claims from 2 %",
        values,
        change,
        claimed=differs and not spoilt,
        resolvable=max(math.expm1(half), SMALLEST_AGAINST),
        flags=spoilt,
    )


def pace(record: dict[str, Any]) -> Interval | None:
    """Seconds of the canary around a run, before and after taken together; None where it was not looked at."""
    conditions = record.get("conditions") or {}
    values = [(conditions.get(f"canary_{when}") or {}).get("value") for when in ("before", "after")]
    known = [float(one) for one in values if one]
    return Interval(sum(known) / len(known), min(known), max(known), len(known)) if known else None


def _variance(entry: dict[str, Any]) -> float:
    """Of the log of a metric, from its interval."""
    if entry.get("low") is None or entry.get("high") is None or entry["low"] <= 0:
        return 0.0
    return (math.log(entry["high"] / entry["low"]) / (2 * _Z)) ** 2


def _spread(of: Interval) -> float:
    """Half of what lies between the canary before and after, as a log."""
    return math.log(of.high / of.low) / 2 if of.low and of.high else 0.0
