"""The instrument tried on itself: a model against itself, and against itself slowed down by a known share."""

from __future__ import annotations

import contextlib
import json
import math
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from thrifty.errors import BadData
from thrifty.execution import fork_server
from thrifty.execution.cores import freest_cores
from thrifty.instrument.neighbour import BusyNeighbour
from thrifty.instrument.pairs import Plan, measure
from thrifty.instrument.reference import known_slowdown
from thrifty.instrument.sequential import sequential_ratio
from thrifty.measure.comparison import SMALLEST_CLAIM
from thrifty.measure.statistics import Interval, share_interval

SLOWDOWNS = (0.0, 0.03, 0.05, 0.10)
_REFERENCE_SLOWDOWNS, _REFERENCE_EVERY = (0.0, 0.03), 10
"""The usual way is tried where it errs most, in every tenth trial: it takes as long again."""
_RENEW_EVERY = 2
"""Trials from one fork server: a comparison of a user's has one of its own, whose addresses favour one arm a little."""
PLAN = Plan()
FILE = "verify.jsonl"


@dataclass(frozen=True)
class Trial:
    """One comparison whose truth is known."""

    number: int
    neighbour: bool
    slowdown: float
    """Share by which the second arm is slower, as it is called."""
    truth: float
    """The same, as it is."""
    ratio: float
    low: float
    high: float
    pairs: list[float]
    """Log ratio of every pair of processes."""
    claimed: bool
    seconds: float
    reference: float | None
    """What timing one after the other gave, where it was tried."""

    @property
    def covered(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= 1 + self.truth <= self.high

    @property
    def reference_claims(self) -> bool:
        """Whether the usual way showed a difference above the least we claim."""
        return self.reference is not None and abs(math.log(self.reference)) > math.log1p(SMALLEST_CLAIM)


@dataclass(frozen=True)
class Tally:
    """What trials of one truth, with or without a neighbour, came to."""

    neighbour: bool
    slowdown: float
    claims: Interval
    """Share that claimed a difference: false ones where the slowdown is 0, right ones elsewhere."""
    coverage: Interval
    half_width: float
    deviation: float
    """Of the estimates from the truth, root of the mean square, as a share."""
    seconds: float
    """Of a comparison, mean."""
    reference: Interval | None
    reference_deviation: float | None


def run_trials(
    store: Path, trials: int, threads: int = 1, fresh: bool = False, tell: Callable[[Trial, int, int], None] = lambda *_: None
) -> list[Trial]:
    """Make the trials that are not there yet; every finished one is kept, so that a run that was cut off goes on.

    Args:
        store: holds the file of trials.
        trials: of each truth, with and without the neighbour each.
        fresh: begin anew.
        tell: hears of every trial, with how many are done and to do.

    Raises:
        BadData: the store cannot be written.
    """
    path = store / FILE
    settings = {"host": platform.node(), "threads": threads, "plan": asdict(PLAN), "reference": known_slowdown(0)[0].options}
    done = [] if fresh else _kept(path, settings)
    try:
        store.mkdir(parents=True, exist_ok=True)
        if not done:
            path.write_text(json.dumps(settings) + "\n")
        known = {(one.number, one.neighbour, one.slowdown) for one in done}
        everything = len(SLOWDOWNS) * 2 * trials
        missing = {
            number: {at: [one for one in SLOWDOWNS if (number, at, one) not in known] for at in (False, True)}
            for number in range(trials)
        }
        for place, number in enumerate(one for one in missing if any(missing[one].values())):
            if place % _RENEW_EVERY == 0:
                fork_server.renew()
                fork_server.wait_until_ready(fork_server.ARMS)
            for neighbour, slowdowns in missing[number].items():
                with BusyNeighbour() if neighbour and slowdowns else contextlib.nullcontext():
                    for slowdown in slowdowns:
                        done.append(_trial(number, neighbour, slowdown, threads))
                        with path.open("a") as file:
                            file.write(json.dumps(asdict(done[-1])) + "\n")
                        tell(done[-1], len(done), everything)
    except OSError as error:
        raise BadData(f"{path}: cannot be written ({error.strerror}); give another --store") from error
    return [one for one in done if one.number < trials]


def _trial(number: int, neighbour: bool, slowdown: float, threads: int) -> Trial:
    cores = freest_cores(threads)
    *arms, truth = known_slowdown(slowdown)
    first, second = (replace(one, threads=threads, cores=cores) for one in arms)
    found = measure(first, second, PLAN, seed=f"{number} {neighbour} {slowdown}")
    assert found.comparison is not None
    ratio = found.comparison.ratio
    assert ratio.low is not None
    assert ratio.high is not None
    logs = [one.log_ratio()[0] for one in found.pairs]
    usual = None
    if slowdown in _REFERENCE_SLOWDOWNS and number % _REFERENCE_EVERY == 0:
        usual = sequential_ratio(replace(first, cores=None), replace(second, cores=None), found.seconds)
    return Trial(
        number,
        neighbour,
        slowdown,
        truth,
        ratio.value,
        ratio.low,
        ratio.high,
        logs,
        found.comparison.differs,
        found.seconds,
        usual,
    )


def _kept(path: Path, settings: dict[str, Any]) -> list[Trial]:
    """Trials of an earlier run with the same settings; a last line that was cut off is left out, and so made again."""
    try:
        lines = path.read_text().splitlines()
        if json.loads(lines[0]) != json.loads(json.dumps(settings)):
            return []
    except (OSError, ValueError, IndexError):
        return []
    found = list(_readable(lines[1:]))
    path.write_text("\n".join([lines[0], *(json.dumps(asdict(one)) for one in found)]) + "\n")
    return found


def _readable(lines: Sequence[str]) -> Iterator[Trial]:
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            yield Trial(**json.loads(line))


def tally(trials: Sequence[Trial]) -> list[Tally]:
    """The trials counted, a line for each truth with and without the neighbour."""
    found = []
    for neighbour in (False, True):
        for slowdown in SLOWDOWNS:
            ours = [one for one in trials if one.neighbour == neighbour and one.slowdown == slowdown]
            if not ours:
                continue
            errors = np.array([math.log(one.ratio) - math.log1p(one.truth) for one in ours])
            usual = [one for one in ours if one.reference is not None]
            theirs = np.array([math.log(one.reference or 1) - math.log1p(one.truth) for one in usual])
            found.append(
                Tally(
                    neighbour,
                    slowdown,
                    # A claim in the wrong direction finds nothing.
                    share_interval(sum(one.claimed and (one.ratio > 1 or not slowdown) for one in ours), len(ours)),
                    share_interval(sum(one.covered for one in ours), len(ours)),
                    float(np.mean([(math.log(one.high) - math.log(one.low)) / 2 for one in ours])),
                    float(np.sqrt(np.mean(errors**2))),
                    float(np.mean([one.seconds for one in ours])),
                    share_interval(sum(one.reference_claims for one in usual), len(usual)) if usual else None,
                    float(np.sqrt(np.mean(theirs**2))) if usual else None,
                )
            )
    return found


def smallest_found(tallies: Sequence[Tally], power: float = 0.9) -> float:
    """The smallest slowdown that is claimed in `power` of comparisons, as a share: what is never claimed, and the scatter."""
    deviation = max(one.deviation for one in tallies)
    return math.expm1(math.log1p(SMALLEST_CLAIM) + float(stats.norm.ppf(power)) * deviation)
