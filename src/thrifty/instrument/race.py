"""Which of many ways to predict may be the fastest, by short looks: who is clearly beaten is out, and few of the others stay.

Pure arithmetic over looks that somebody else takes, tried on simulated ones whose truth is known. Each look sets a challenger against one
that was clearly the fastest so far, in turns, so that what the machine does meanwhile hits both; the times of all others follow by chaining.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from thrifty.instrument.candidate import Candidate
from thrifty.instrument.known import Known
from thrifty.instrument.look import Look
from thrifty.measure.loss_bound import QualityLoss
from thrifty.measure.statistics import Interval

FINALISTS = 5
_BEATEN = 1.1
"""Times as long as the fastest, beyond which a candidate is out."""
_LOOK_SECONDS = 1.5
"""Length of a look where it is not clear before: short against what it takes to build what is looked at."""
TIME_SPENT = "the time was spent before"
BEYOND = "beyond the bound"
"""Status of what loses more quality than it may."""


class Lost(Exception):
    """A candidate that could not be looked at, with the status and the reason for its row.

    Args:
        of_champion: whether it is the champion, and the challenger only had no one to be set against.
    """

    def __init__(self, status: str, reason: str, of_champion: bool = False) -> None:
        super().__init__(reason)
        self.status, self.of_champion = status, of_champion


class Looking(Protocol):
    """What takes looks."""

    def look(self, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]) -> Look:
        """Let the two take turns for so long, or until `enough` says of what was seen that it is.

        Raises:
            Lost: one of them could not do it.
        """
        ...


@dataclass
class Standing:
    """What became of a candidate."""

    candidate: Candidate
    status: str = "not tried"
    """winner, finalist, baseline, dropped, beyond the bound, unsupported, failed, not tried."""
    why: str = ""
    log: float | None = None
    """Of its time by example over the baseline's; of a file or memory, of its bytes."""
    error: float = 0.0
    ratio: Interval | None = None
    """The same as measured beside it, in fresh processes."""
    loss: QualityLoss | None = None
    seconds: float = 0.0

    def over_baseline(self) -> Interval | None:
        """Its ratio to the baseline, as well as it is known."""
        if self.ratio is not None or self.log is None:
            return self.ratio
        half = 1.96 * self.error
        return Interval(math.exp(self.log), math.exp(self.log - half), math.exp(self.log + half), 1)


@dataclass
class Race:
    """Looks at candidates one by one, until few are left.

    Args:
        baseline: its standing; all times are over its.
        remaining: seconds that are left for looks.
        skip: why a candidate need not be tried, given what is known.
        clock: seconds.
    """

    baseline: Standing
    looking: Looking
    remaining: Callable[[], float]
    skip: Callable[[Candidate, Known], str | None]
    clock: Callable[[], float]
    promise: Callable[[Candidate, Known], Any] = lambda candidate, known: 0
    """By which the next one to look at is the smallest, given what is known; of equals the first."""
    qualify: Callable[[Standing], bool] = lambda standing: True
    """Whether to look at one at all; asked once, before its first look, it says in the standing why not."""
    admit: Callable[[Standing], bool] = lambda standing: True
    """Whether one that is not beaten may stay; asked once, it says in the standing why not."""
    tell: Callable[[str], None] = lambda sentence: None
    left: list[Standing] = field(default_factory=list)
    """Those that are not out."""

    def __post_init__(self) -> None:
        self.baseline.log, self.baseline.status = 0.0, "baseline"
        self.champion = self.baseline
        self.left = [self.baseline]
        self._known = Known(self.baseline.candidate)

    def run(self, entrants: Sequence[Standing]) -> list[Standing]:
        """The few that are to be measured together, the fastest first; everybody's standing says what became of it."""
        self._look_at_all(entrants)
        self._drop_beaten()
        order = sorted((one for one in self.left if one is not self.baseline), key=lambda one: one.log or 0.0)
        for place, one in enumerate(order[FINALISTS:], FINALISTS):
            self._out(one, f"{place} others were faster: {self._over(one, order[0])}")
        self.left = order[:FINALISTS]
        return self.left

    def _look_at_all(self, entrants: Sequence[Standing]) -> None:
        waiting = list(entrants)
        for number in range(1, len(entrants) + 1):
            one = min(waiting, key=lambda standing: self.promise(standing.candidate, self._known))
            waiting.remove(one)
            if self.remaining() <= 0:
                one.status, one.why = "not tried", TIME_SPENT
                continue
            if (why := self.skip(one.candidate, self._known)) is not None:
                one.status, one.why = "not tried", why
                continue
            self.tell(f"{number} of {len(entrants)}: {one.candidate.name}")
            if not self.qualify(one):
                continue
            self._known.tried.add(one.candidate)
            if self._look(one):
                self.left.append(one)

    def _look(self, one: Standing) -> bool:
        """Whether it stays in."""
        champion, begin = self.champion, self.clock()
        try:
            look = self.looking.look(champion.candidate, one.candidate, _LOOK_SECONDS, lambda seen: seen.clearly_above(_BEATEN))
        except Lost as lost:
            if not lost.of_champion or champion is self.baseline:
                one.status, one.why = lost.status, str(lost)
                return False
            self._depose(lost)
            look = None
        finally:
            one.seconds += self.clock() - begin
        if look is None:  # against the next
            return self._look(one)
        self._known.add(one.candidate, champion.candidate, look)
        over = self._known.over(one.candidate, self.baseline.candidate)
        one.log, one.error = over.log, over.error
        if look.clearly_above(_BEATEN):
            if one.loss is None:
                self._known.doubt(one.candidate)
            return self._out(one, f"{look.times:.2f} times as long as {champion.candidate.name}")
        if not self.admit(one):
            self._known.forget(one.candidate)  # nobody need be as fast as what is not allowed
            return False
        if look.clearly_faster:
            self.champion = one
        return True

    def _depose(self, lost: Lost) -> None:
        """The champion is out, and the fastest of the others is it."""
        self.champion.status, self.champion.why = lost.status, str(lost)
        self.left.remove(self.champion)
        self._known.forget(self.champion.candidate)
        self.champion = min(self.left, key=lambda one: one.log or 0.0)

    def _drop_beaten(self) -> None:
        """Those that were looked at before the fastest was known, or against another."""
        fastest = min(self.left, key=lambda one: one.log or 0.0)
        for one in [one for one in self.left if one is not fastest]:
            if self._known.over(one.candidate, fastest.candidate).clearly_above(_BEATEN):
                self._out(one, self._over(one, fastest))
                self.left.remove(one)

    def _out(self, one: Standing, why: str) -> bool:
        if one is not self.baseline:
            one.status, one.why = "dropped", why
        return False

    @staticmethod
    def _over(one: Standing, other: Standing) -> str:
        return f"{math.exp((one.log or 0.0) - (other.log or 0.0)):.2f} times as long as {other.candidate.name}"
