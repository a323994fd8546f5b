"""What looks at two candidates each tell of any two of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from thrifty.instrument.candidate import Candidate
from thrifty.instrument.look import Look


class Known:
    """A tree of looks: each candidate was set against one that was known.

    Of two, only the looks between them count: what was told of an ancestor of both, however loosely, is not in their difference.

    Args:
        baseline: what all is over.
    """

    def __init__(self, baseline: Candidate) -> None:
        self._baseline = baseline
        self._looks: dict[Candidate, tuple[Candidate, Look]] = {}
        self._forgotten: set[Candidate] = set()
        self._doubted: set[Candidate] = set()
        self.tried = {baseline}
        """Those that there was a try to look at, whatever came of it."""

    def __iter__(self) -> Iterator[Candidate]:
        return (one for one in (self._baseline, *self._looks) if one not in self._forgotten)

    def add(self, one: Candidate, rival: Candidate, look: Look) -> None:
        """It was set against a rival that is known."""
        assert rival == self._baseline or rival in self._looks
        self._looks[one] = rival, look

    def forget(self, one: Candidate) -> None:
        """Leave it out; who was set against it stays known."""
        self._forgotten.add(one)

    def doubt(self, one: Candidate) -> None:
        """Nobody knows whether it would be allowed: how slow it is may be told of it, how fast it is is no reason against others."""
        self._doubted.add(one)

    def allowed(self, one: Candidate) -> bool:
        """Whether its speed may be held against others."""
        return one not in self._doubted

    def log(self, one: Candidate) -> float:
        """Of its time over the baseline's."""
        return self.over(one, self._baseline).log

    def over(self, first: Candidate, second: Candidate) -> Look:
        """The first's time over the second's."""
        mine, theirs = self._to_baseline(first), self._to_baseline(second)
        while mine and theirs and mine[-1] is theirs[-1]:
            mine.pop()
            theirs.pop()
        log = sum(one.log for one in mine) - sum(one.log for one in theirs)
        return Look(log, math.hypot(*(one.error for one in (*mine, *theirs))))

    def _to_baseline(self, one: Candidate) -> list[Look]:
        found: list[Look] = []
        while one != self._baseline:
            one, look = self._looks[one]
            found.append(look)
        return found
