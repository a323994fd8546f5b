"""By what the trials of a search are judged: metrics to optimise, and bounds to keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from thrifty.errors import BadConfiguration
from thrifty.metrics import Metric, metric

MAXIMIZE, MINIMIZE = "maximize", "minimize"
_BOUND = re.compile(r"\s*(?P<metric>[^\s<>=]+)\s*(?P<sign><=|>=)\s*(?P<bound>[^\s<>=]+)\s*")


@dataclass(frozen=True)
class Objective:
    """A metric and which way it should go."""

    metric: Metric
    direction: str

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.metric.name}: {self.direction}"

    def better(self, first: float, second: float) -> bool:
        """Whether the first is strictly better than the second."""
        return first > second if self.direction == MAXIMIZE else first < second


@dataclass(frozen=True)
class Constraint:
    """A metric and a bound that a trial has to keep."""

    metric: Metric
    sign: str
    bound: float

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.metric.name} {self.sign} {self.bound:g}"

    def excess(self, value: float) -> float:
        """By how much a value is beyond the bound, in the metric's unit; at most 0 where it keeps it."""
        return value - self.bound if self.sign == "<=" else self.bound - value


def objective_of(text: str) -> Objective:
    """An objective such as `validation/accuracy: maximize`; without a direction it is that in which the metric is better.

    Raises:
        BadConfiguration: no such metric or direction, or one of the test split.
    """
    name, _, direction = (part.strip() for part in text.partition(":"))
    found = _for_a_search(name, f"sweep.objectives={text}")
    if not direction and not found.better:
        raise BadConfiguration(
            f"sweep.objectives={text}: neither way of {name} is better; say which: '{name}: {MINIMIZE}' or '{MAXIMIZE}'"
        )
    direction = direction or (MAXIMIZE if found.better == "higher" else MINIMIZE)
    if direction not in (MAXIMIZE, MINIMIZE):
        raise BadConfiguration(f"sweep.objectives={text}: must be '{name}: {MINIMIZE}' or '{name}: {MAXIMIZE}'")
    return Objective(found, direction)


def constraint_of(text: str) -> Constraint:
    """A constraint such as `size/file_mib <= 10`.

    Raises:
        BadConfiguration: not of this form, or of no such metric, or of one of the test split.
    """
    given = f"sweep.constraints={text}"
    found = _BOUND.fullmatch(text)
    try:
        bound = float(found["bound"]) if found else None
    except ValueError:
        bound = None
    if found is None or bound is None:
        raise BadConfiguration(f"{given}: must be METRIC <= NUMBER or METRIC >= NUMBER, such as 'size/file_mib <= 10'")
    return Constraint(_for_a_search(found["metric"], given), found["sign"], bound)


def _for_a_search(name: str, given: str) -> Metric:
    try:
        found = metric(name)
    except BadConfiguration as error:
        raise BadConfiguration(f"{given}: {error}") from error
    if found.split == "test" or name.startswith("quality/"):
        other = f"validation/{name.partition('/')[2]}"
        raise BadConfiguration(
            f"{given}: is of the test split, which a search must not see, or it would say nothing of new data any more; "
            f"take a metric of the validation split, such as {other if name != 'quality/gap' else 'validation/loss'}"
        )
    return found


def value_in(record: dict[str, Any], name: str) -> tuple[float | None, str]:
    """A metric's value in a record, or None and the reason."""
    entry = record["metrics"].get(name)
    if entry is None:
        return None, f"{name}: no run of this kind has it"
    if entry["value"] is None:
        return None, f"{name}: {entry.get('reason', 'not measured')}"
    return float(entry["value"]), ""
