"""Short looks at two arms that live side by side; the fastest so far stays alive from one look to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from thrifty.execution import fork_server
from thrifty.execution.arm_worker import ArmSpec, Ready
from thrifty.execution.arms import LONGEST_SILENCE, Arm, ArmFailed, led_in
from thrifty.instrument.candidate import Candidate
from thrifty.instrument.look import Look
from thrifty.instrument.race import Lost
from thrifty.measure.comparison import Pair

_ENTRY = "thrifty.methods.workloads:prediction"
_BLOCK_S = 0.02
"""Least length of a block: the parent gives the word for each, which takes as long as a short one."""
_LEAST_BLOCKS, _MOST_BLOCKS = 8, 60
"""Of each arm in a look: the scatter of fewer is not to be trusted."""


@dataclass(frozen=True)
class Weights:
    """Where a quantizer's model lies, or the dense one."""

    path: Path
    config_hash: str


@dataclass(frozen=True)
class Arms:
    """What arms are told of candidates.

    Args:
        weights: by quantizer.
        precisions, engines: values by name.
        cores: by number of threads.
    """

    weights: Mapping[str, Weights]
    precisions: Mapping[str, dict[str, Any]]
    engines: Mapping[str, dict[str, Any]]
    device: str
    cores: Mapping[int, tuple[int, ...] | None]

    def spec(self, candidate: Candidate, held_to_eager: bool = False) -> ArmSpec:
        """The arm that predicts as a candidate does."""
        weights = self.weights[candidate.quantizer]
        options = {
            "run": str(weights.path.resolve()),
            "config_hash": weights.config_hash,
            "batch_size": candidate.batch_size,
            "device": self.device,
            "engine": self.engines[candidate.engine],
            "precision": self.precisions[candidate.precision],
            "held_to_eager": held_to_eager,
        }
        return ArmSpec(_ENTRY, options, candidate.threads, self.cores.get(candidate.threads))

    def together(self, some: Sequence[Candidate], held_to_eager: bool = False) -> list[ArmSpec]:
        """Arms on the same cores, as many as the one with most threads needs."""
        cores = self.cores.get(max(one.threads for one in some))
        return [replace(self.spec(one, held_to_eager), cores=cores) for one in some]


class Looks:
    """Takes looks; arms are ended when the `with` block is left.

    Args:
        remaining: seconds that are left, after which an arm that is being built is given up.
    """

    def __init__(self, arms: Arms, remaining: Callable[[], float]) -> None:
        self.arms, self.remaining = arms, remaining
        self._alive: dict[Candidate, tuple[Arm, Ready]] = {}
        self._held: set[Candidate] = set()

    def __enter__(self) -> Looks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end_all_but()

    def seconds_of(self, candidate: Candidate) -> float:
        """What it takes for an example, by its warm-up: for the size of things.

        Raises:
            Lost: it could not do it.
        """
        ready = self._arm(candidate)[1]
        return ready.call_s / ready.examples

    def look(self, champion: Candidate, challenger: Candidate, seconds: float, enough: Callable[[Look], bool]) -> Look:
        """See `race.Looking`."""
        self._end_all_but(champion, challenger)
        arms = [self._champion(champion), self._arm(challenger)]
        longest = max(ready.call_s / ready.examples for _, ready in arms)
        calls = [max(1, round(_BLOCK_S / (longest * ready.examples))) for _, ready in arms]
        taken: tuple[list[float], list[float]] = ([], [])
        begin = time.perf_counter()
        while True:
            try:
                for place, (arm, ready) in enumerate(arms):
                    taken[place].append(arm.work(calls[place], led_in(ready.call_s)).seconds / (calls[place] * ready.examples))
            except ArmFailed as failed:
                self._end_all_but()
                raise Lost("failed", str(failed), of_champion=len(taken[0]) == len(taken[1])) from failed
            look, over = Look.of([Pair(*taken)]), time.perf_counter() - begin > seconds
            if len(taken[0]) >= _LEAST_BLOCKS and (over or len(taken[0]) >= _MOST_BLOCKS or enough(look)):
                return look

    def _champion(self, candidate: Candidate) -> tuple[Arm, Ready]:
        try:
            return self._arm(candidate)
        except Lost as lost:
            raise Lost(lost.status, str(lost), of_champion=lost.status != "not tried") from lost

    def _arm(self, candidate: Candidate) -> tuple[Arm, Ready]:
        if candidate not in self._alive:
            try:
                spec = self.arms.spec(candidate, held_to_eager=candidate not in self._held)
                arm = Arm(spec, fork_server.ARMS, patience=min(LONGEST_SILENCE, max(1.0, self.remaining())))
            except ArmFailed as failed:
                raise Lost(status_of(failed), str(failed)) from failed
            try:
                self._alive[candidate] = arm, arm.ready()
            except ArmFailed as failed:
                arm.end()
                spent = failed.status == "killed" and self.remaining() <= 0
                raise Lost(
                    *(("not tried", "the time was spent before it was ready") if spent else (status_of(failed), told(failed)))
                ) from failed
            except BaseException:
                arm.end()
                raise
            self._held.add(candidate)
        return self._alive[candidate]

    def _end_all_but(self, *stay: Candidate) -> None:
        for one in [one for one in self._alive if one not in stay]:
            self._alive.pop(one)[0].end()


def status_of(failed: ArmFailed) -> str:
    """Of the row of whoever could not do it."""
    return "unsupported" if failed.status == "unsupported" else "failed"


def told(failed: Exception) -> str:
    """What the row says of it."""
    return str(failed).removeprefix("Unsupported: ")
