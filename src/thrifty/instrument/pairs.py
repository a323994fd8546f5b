"""Comparing two arms: pairs of fresh processes, one after the other, until the interval is narrow enough or the time is spent."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scipy import stats

from thrifty.execution import fork_server
from thrifty.execution.arm_worker import ArmSpec, Ready, Turns
from thrifty.execution.arms import Arm, ArmFailed, link
from thrifty.measure.comparison import Comparison, Pair, compare
from thrifty.measure.conditions import Conditions, Watch

SPOILS = ("swapping", "throttled")
"""Flags that withhold a claim: what raises them hits one arm more than the other."""
LEAST_PAIRS = 6
"""Fewer leave Student's t so wide that little is ever claimed."""

_LONGEST = 2
"""Times the least length of a pair's blocks: beyond it more pairs tell more, as processes differ too."""


@dataclass(frozen=True)
class Plan:
    """How much a comparison may take. It looks at the interval's width only, never at where it lies."""

    half_width: float = 0.01
    """Share at which the interval is narrow enough to stop: a 3 % difference is then found as a rule. 0 never is."""
    seconds: float = 3.9
    """While these are not spent, more pairs than the least are made for an interval that is still wide."""
    most_pairs: int = 10_000
    """More are not made."""
    block_s: float = 1e-3
    """Length of a block: at least one call. Long against the clock, short against the machine's moods."""
    blocks: int = 10
    """Least blocks of each arm in a pair."""
    pair_s: float = 0.2
    """Least length of a pair's blocks."""
    lead_in: int = 0
    """Untimed calls before each block, at least."""

    def length(self, pairs: Sequence[Pair], spent_s: float, made_s: float) -> float:
        """Seconds that the next pair's blocks take: more than the least where so few would leave the interval wide.

        Making two processes takes as long as the least of blocks, so that few long pairs tell more than many short ones. It looks
        at how the blocks scatter, never at what they tell.

        Args:
            made_s: what the last pair took besides its blocks.
        """
        if not pairs or len(pairs) >= LEAST_PAIRS or self.half_width == 0:  # 0: so many pairs were asked for
            return self.pair_s
        error = math.sqrt(sum(one.log_ratio()[1] ** 2 for one in pairs) / len(pairs) / LEAST_PAIRS)
        if float(stats.t.ppf(0.975, LEAST_PAIRS - 1)) * error <= self.half_width:
            return self.pair_s
        fills = (self.seconds - spent_s) / (LEAST_PAIRS - len(pairs)) - made_s
        return max(self.pair_s, min(fills, _LONGEST * self.pair_s))

    def suffices(self, comparison: Comparison, spent_s: float, pair_s: float) -> bool:
        """Whether to stop, another pair taking `pair_s` again."""
        if comparison.ratio.n < LEAST_PAIRS:
            return False
        return comparison.half_width <= self.half_width or spent_s + pair_s > self.seconds


@dataclass
class Measured:
    """What a comparison took and gave."""

    pairs: list[Pair] = field(default_factory=list)
    ready: tuple[Ready, Ready] | None = None
    """Of the last pair."""
    calls: tuple[int, int] = (0, 0)
    """In a block."""
    switches: int = 0
    recompiled: bool = False
    """Whether torch.compile made a graph within a block."""
    seconds: float = 0.0
    comparison: Comparison | None = None
    conditions: Conditions | None = None
    """From the first pair to the last."""


class PairFailed(Exception):
    """One of the two could not go on: which (0 or 1), with the status and the reason that a record would have."""

    def __init__(self, place: int, status: str, reason: str) -> None:
        super().__init__(reason)
        self.place, self.status = place, status


def measure(
    first: ArmSpec,
    second: ArmSpec,
    plan: Plan,
    noise_floor: float = 0.0,
    seed: int | str = 0,
    on_pair: Callable[[Measured], None] = lambda _: None,
    preload: str = fork_server.ARMS,
) -> Measured:
    """Measure the second arm against the first.

    Args:
        seed: of who begins in each pair.
        on_pair: told after every pair.

    Raises:
        PairFailed: an arm could not be built, failed, or died; processes are gone by then.
    """
    order, found = random.Random(seed), Measured()
    begin, made_s = time.perf_counter(), 0.0
    with Watch() as watch:
        while len(found.pairs) < plan.most_pairs:
            started = time.perf_counter()
            length = plan.length(found.pairs, started - begin, made_s)
            found.pairs.append(_pair(first, second, plan, length, order, found, preload))
            now = time.perf_counter()
            found.seconds, made_s = now - begin, max(0.0, now - started - length)
            if len(found.pairs) >= min(2, plan.most_pairs):
                found.comparison = compare(found.pairs, noise_floor)
            on_pair(found)
            if found.comparison is not None and plan.suffices(found.comparison, found.seconds, now - started):
                break
    found.conditions = watch.conditions
    every_core = first.cores is None or second.cores is None
    found.comparison = judged(found.pairs, noise_floor, watch.conditions, every_core)
    return found


def judged(
    pairs: Sequence[Pair], noise_floor: float, conditions: Conditions | None, every_core: bool = False, arms: int = 2
) -> Comparison:
    """The comparison that pairs make, claims held to the conditions they were made under.

    Arms that take turns on the same cores share what a neighbour on another core does to them, and what the host takes of theirs: a
    block is hit the more the longer it is, which leaves the ratio as it was, and what scatter it makes is in the interval. `thrifty
    verify` tries it. Where the arms need every core, one with more threads waits more for one that is gone.

    Args:
        every_core: whether the arms needed all cores there are.
        arms: how many took turns.
    """
    if conditions is None:
        return compare(pairs, noise_floor)
    flags, taken = conditions.flags(), 0.0
    if every_core:
        taken += (conditions.stolen_share or 0) * ("stolen_time" in flags)
        taken += (conditions.others_share or 0) * ("busy_machine" in flags)
    # Of two arms each has half of the time: all that others took, taken from one of them, is twice the share of it.
    return compare(pairs, noise_floor, [flag for flag in flags if flag in SPOILS], arms * taken)


def _pair(
    first: ArmSpec, second: ArmSpec, plan: Plan, length: float, order: random.Random, found: Measured, preload: str
) -> Pair:
    """One pair of fresh processes, built in random order, then taking turns strictly, the one that leads drawn.

    Strictly, because a block that follows one of its own arm finds its data in the caches and the others do not: with the order
    drawn for each turn, that alone made an arm half a percent faster than itself.
    """
    specs, arms, place, ends = (first, second), {}, 0, link(preload)
    try:
        for place in order.sample((0, 1), 2):
            arms[place] = Arm(specs[place], preload, other=ends[place])
        ready = []
        for place in (0, 1):
            ready.append(arms[place].ready())
        # Both arms do the same number of calls where both are of a kind, so that a block means the same.
        longest = max(one.call_s / one.examples for one in ready)
        calls = [max(1, round(plan.block_s / (longest * one.examples))) for one in ready]
        found.ready, found.calls = (ready[0], ready[1]), (calls[0], calls[1])
        leader = order.choice((0, 1))
        for place in (0, 1):
            arms[place].begin(Turns(calls[place], place == leader, plan.blocks, length, plan.lead_in))
        taken: tuple[list[float], list[float]] = ([], [])
        for place in (0, 1):
            for block in arms[place].blocks(length):
                taken[place].append(block.seconds / (block.calls * ready[place].examples))
                found.switches += block.switches
                found.recompiled = found.recompiled or block.compiled > 0
        return Pair(*taken, leader == 1)
    except ArmFailed as error:
        raise PairFailed(place, error.status, error.reason) from error
    finally:
        for arm in arms.values():
            arm.end()
