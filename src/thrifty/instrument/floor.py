"""The noise floor: how far apart this machine shows an arm and itself."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from thrifty.atomic import write_atomically
from thrifty.execution import fork_server
from thrifty.execution.cores import freest_cores
from thrifty.instrument.pairs import Plan, measure
from thrifty.instrument.reference import REFERENCE
from thrifty.measure.statistics import Interval
from thrifty.record import now, to_json

FILE = "noise_floor.json"


def measure_floor(comparisons: int = 4, plan: Plan | None = None) -> Interval:
    """From comparisons of a small model with itself: the difference that 19 of 20 stay below, as a share.

    Two standard deviations of the log ratios about 0, where the truth lies; `low` and `high` from the chi-square of their squares.
    """
    from scipy import stats

    plan = plan or Plan(most_pairs=6, half_width=0.0)
    fork_server.wait_until_ready(fork_server.ARMS)
    found = []
    for number in range(comparisons):
        arm = replace(REFERENCE, cores=freest_cores(REFERENCE.threads))
        found.append(measure(arm, arm, plan, seed=number).comparison)
    logs = np.array([math.log(one.ratio.value) for one in found if one is not None])
    square = float(np.mean(logs**2))
    spread = [comparisons / float(stats.chi2.ppf(share, comparisons)) for share in (0.975, 0.025)]
    low, high = (2 * math.sqrt(square * one) for one in spread)
    return Interval(2 * math.sqrt(square), low, high, comparisons)


def keep_floor(store: Path, floor: Interval) -> None:
    """Write it where comparisons look for it."""
    store.mkdir(parents=True, exist_ok=True)
    write_atomically(store / FILE, to_json({"host": platform.node(), "measured": now(), **vars(floor)}))


@dataclass(frozen=True)
class KeptFloor:
    """A floor that was measured on this machine."""

    share: float
    measured: str
    """When, as records have it."""


def kept_floor(store: Path) -> KeptFloor | None:
    """The one measured here last; None where there is none."""
    try:
        found: dict[str, Any] = json.loads((store / FILE).read_text())
        return KeptFloor(float(found["value"]), str(found["measured"])) if found.get("host") == platform.node() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
