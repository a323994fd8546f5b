"""Conditions on a comparison that make a project's CI fail: `infer/latency_ms > +3%`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thrifty.errors import BadConfiguration
from thrifty.metrics import metric

if TYPE_CHECKING:  # conditions are read before anything heavy is imported
    from thrifty.instrument.comparison import Finding

_FORM = re.compile(r"\s*(?P<metric>[a-z_0-9/]+)\s*(?P<sign>[<>])\s*(?P<amount>[+-]?\d+(?:\.\d+)?)\s*(?P<percent>%?)\s*")


@dataclass(frozen=True)
class Guard:
    """A change of the second run against the first that is not to be."""

    text: str
    metric: str
    above: bool
    """Whether a change above the limit fails, else one below."""
    limit: float
    """A share where the metric's changes are shares; for quality in the metric's own unit."""

    def failed_by(self, finding: Finding) -> bool:
        """Whether the change goes beyond the limit, and is claimed: noise alone fails nothing."""
        if finding.change is None or not finding.claimed:
            return False
        return finding.change.value > self.limit if self.above else finding.change.value < self.limit

    def open_in(self, finding: Finding) -> str | None:
        """Why the comparison cannot tell; None where it can."""
        if finding.change is None:
            return finding.how
        low, high = finding.change.low, finding.change.high
        if finding.claimed or low is None or high is None:
            return None
        within = high <= self.limit if self.above else low >= self.limit
        return None if within else "the interval reaches beyond the limit and no difference was resolved; give it more time"


def parse_guard(text: str) -> Guard:
    """A guard as typed.

    Raises:
        BadConfiguration: not of the form, no such metric, or a unit that does not fit it.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise BadConfiguration(
            f"--fail-if {text!r}: is not a condition; write METRIC > +N% or METRIC < -N%, such as 'infer/latency_ms > +3%', "
            "or for quality points, such as 'quality/accuracy < -0.5'"
        )
    name, amount = match["metric"], float(match["amount"])
    declared = metric(name)
    points = name.startswith("quality/") and declared.fraction
    if points and match["percent"]:
        raise BadConfiguration(f"--fail-if {text!r}: {name} is compared in points, 100 x the difference; leave the % out")
    if not points and not name.startswith("quality/") and not match["percent"]:
        raise BadConfiguration(f"--fail-if {text!r}: {name} is compared in percent; write {match['amount']}%")
    if not points and name.startswith("quality/") and match["percent"]:
        raise BadConfiguration(f"--fail-if {text!r}: {name} is compared in its own unit; leave the % out")
    limit = amount if name.startswith("quality/") and not points else amount / 100
    return Guard(text, name, match["sign"] == ">", limit)


def with_guarded(metrics: Sequence[str], guards: Sequence[Guard]) -> list[str]:
    """The metrics to compare, those of the guards among them, each once."""
    return list(dict.fromkeys([*metrics, *(guard.metric for guard in guards)]))
