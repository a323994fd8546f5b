"""A few arms measured together: rounds of fresh processes that live side by side and take turns, until it is clear who is fastest.

All of a round meet the same moods of the machine, which do not hit every way to predict alike. Set against a third one after the other,
two ways differed by a tenth one hour and not the next; set against each other they told the same each time. What takes long to build
is built once a round, not once for each rival.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence

from thrifty.execution.arm_worker import ArmSpec
from thrifty.execution.arms import Arm, ArmFailed, led_in
from thrifty.instrument.look import Look
from thrifty.instrument.pairs import LEAST_PAIRS, Plan, judged
from thrifty.measure.comparison import Comparison, Pair, compare
from thrifty.measure.conditions import Conditions, Watch

_BEATEN = 1.04
"""Times as long as the fastest, beyond which an arm is in no further round."""
_LEAST_ROUNDS = 3
"""However little time is left: fewer hardly have an interval."""
_BLOCK_S = 0.02
"""Least length of a block: the parent gives the word for each, which takes as long as a short one."""
_TRIES, _CLOCK_S = 2, 1e-6
"""Single calls that tell how many make a block, and the least that one is taken for."""
_BLOCKS, _SECONDS_EACH = 10, 0.2
"""Of each arm in a round, at least."""


class Rounds:
    """Measured when `run` is called; processes are gone when it ends.

    Args:
        specs: of the arms; the first is in all rounds, and never beaten.
        remaining: seconds that are left, after which rounds end.
        plan: how many rounds, as if they were pairs.
        tell: hears of every round: its number, and who is in it.
    """

    def __init__(
        self,
        specs: Sequence[ArmSpec],
        remaining: Callable[[], float],
        noise_floor: float = 0.0,
        plan: Plan | None = None,
        tell: Callable[[int, list[int]], None] = lambda number, left: None,
    ) -> None:
        self.specs, self.remaining, self.noise_floor, self.plan, self.tell = specs, remaining, noise_floor, plan or Plan(), tell
        self.left = list(range(1, len(specs)))
        """Those that are neither beaten nor failed."""
        self.failed: dict[int, ArmFailed] = {}
        """The first's failure ends it for everybody; rounds that were made count."""
        self.beaten: dict[int, tuple[int, float]] = {}
        """By whom, and how many times as long it takes."""
        self._rounds: list[tuple[list[int], dict[int, list[float]]]] = []
        """The order in which arms took turns, and seconds by example of each block."""
        self._conditions: Conditions | None = None

    @property
    def cut_short(self) -> bool:
        """Whether they ended before all were made: the time was spent, or the first failed."""
        return bool(self.left) and len(self._rounds) < min(LEAST_PAIRS, self.plan.most_pairs)

    def run(self) -> None:
        """Measure, until there is nobody left, or all is known well enough, or the time is spent."""
        begin = time.perf_counter()
        with Watch() as watch:
            while self.left and 0 not in self.failed:
                started = time.perf_counter()
                self.tell(len(self._rounds) + 1, self.left)
                self._round(random.Random(len(self._rounds)))
                self._drop_beaten()
                now = time.perf_counter()
                if self._suffices(now - begin, now - started):
                    break
        self._conditions = watch.conditions

    def comparison(self, first: int, second: int) -> Comparison | None:
        """The second's time by example over the first's, of the rounds that both were in; None where there was none."""
        pairs = self._pairs(first, second)
        every_core = any(self.specs[one].cores is None for one in (first, second))
        arms = max((len(blocks) for _, blocks in self._rounds if first in blocks and second in blocks), default=2)
        return judged(pairs, self.noise_floor, self._conditions, every_core, arms) if pairs else None

    def _pairs(self, first: int, second: int) -> list[Pair]:
        return [
            Pair(blocks[first], blocks[second], order.index(second) < order.index(first))
            for order, blocks in self._rounds
            if first in blocks and second in blocks
        ]

    def _suffices(self, spent_s: float, round_s: float) -> bool:
        made = len(self._rounds)
        if made >= _LEAST_ROUNDS and self.remaining() < round_s:
            return True
        if made < LEAST_PAIRS:
            return False
        found = [compare(self._pairs(0, one), self.noise_floor) for one in self.left]
        return made >= self.plan.most_pairs or all(self.plan.suffices(one, spent_s, round_s) for one in found)

    def _round(self, drawn: random.Random) -> None:
        everybody = [0, *self.left]
        order = drawn.sample(everybody, len(everybody))
        with contextlib.ExitStack() as alive:
            arms: dict[int, Arm] = {}
            for one in order:  # all are begun, and then waited for
                with self._out_if_it_fails(one):
                    arms[one] = alive.enter_context(Arm(self.specs[one]))
            examples: dict[int, int] = {}
            for one, arm in arms.items():
                with self._out_if_it_fails(one):
                    examples[one] = arm.ready().examples
                if 0 in self.failed:
                    return
            taking = [one for one in order if one in examples]
            call_s: dict[int, float] = {}
            for one in taking:  # what a call takes is known once nobody builds beside it
                with self._out_if_it_fails(one):
                    call_s[one] = max(_CLOCK_S, min(arms[one].work(1).seconds for _ in range(_TRIES)))
            calls = {one: max(1, round(_BLOCK_S / taken)) for one, taken in call_s.items()}
            blocks = self._take_turns([one for one in taking if one in calls], arms, calls, call_s)
        if 0 not in self.failed and len(blocks) > 1:
            found = {one: [taken / (calls[one] * examples[one]) for taken in seconds] for one, seconds in blocks.items()}
            self._rounds.append((order, found))

    def _take_turns(
        self, order: list[int], arms: dict[int, Arm], calls: dict[int, int], call_s: dict[int, float]
    ) -> dict[int, list[float]]:
        """Seconds of each block of those that did all of theirs."""
        blocks: dict[int, list[float]] = {one: [] for one in order}
        over = time.perf_counter() + _SECONDS_EACH * len(order)
        while len(blocks) > 1 and 0 in blocks:
            for one in list(blocks):
                with self._out_if_it_fails(one):
                    blocks[one].append(arms[one].work(calls[one], led_in(call_s[one])).seconds)
                if one in self.failed:
                    del blocks[one]
            if all(len(one) >= _BLOCKS for one in blocks.values()) and time.perf_counter() >= over:
                break
        return blocks

    @contextlib.contextmanager
    def _out_if_it_fails(self, one: int) -> Iterator[None]:
        try:
            yield
        except ArmFailed as failed:
            self.failed[one] = failed
            if one in self.left:
                self.left.remove(one)
            for other in [other for other, (by, _) in self.beaten.items() if by == one]:  # by nobody that is there
                del self.beaten[other]
                self.left.append(other)

    def _drop_beaten(self) -> None:
        if len(self.left) < 2 or not self._rounds:
            return
        fastest = min(self.left, key=lambda one: Look.of(self._pairs(0, one)).log)
        for one in [one for one in self.left if one != fastest]:
            look = Look.of(self._pairs(fastest, one))
            if look.clearly_above(_BEATEN):
                self.left.remove(one)
                self.beaten[one] = fastest, look.times
