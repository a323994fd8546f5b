"""What became of every candidate of a search, as the record has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from thrifty.instrument.race import BEYOND, TIME_SPENT, Standing
from thrifty.measure.loss_bound import QualityLoss

_TAKES = {"latency": "the time", "throughput": "the time by example", "file": "the bytes", "memory": "the memory"}


def row_of(one: Standing, bound: float) -> dict[str, Any]:
    """A row: what it is, what became of it, what it takes as a share of the baseline, points lost on validation, seconds spent."""
    over, loss = one.over_baseline(), one.loss
    known = over is not None
    return {
        **dataclasses.asdict(one.candidate),
        "status": one.status,
        "ratio": over.value if known else None,
        "low": over.low if known else None,
        "high": over.high if known else None,
        "in_full": one.ratio is not None,
        "loss": None if loss is None else loss.value,
        "loss_low": None if loss is None else loss.low,
        "loss_high": None if loss is None else loss.high,
        "examples": None if loss is None else loss.n,
        "certified": None if loss is None else loss.certified(bound),
        "seconds": one.seconds,
        "why": one.why,
    }


def span_of(loss: QualityLoss) -> str:
    """The interval of a loss, and what it is over."""
    return f"{loss.low:.2f} to {loss.high:.2f}, paired over {loss.n} examples"


def sentence(winner: Standing, standings: Sequence[Standing], objective: str, bound: float, seconds: float) -> str:
    """What was found, and how sure it is."""
    looked = sum(one.over_baseline() is not None for one in standings)
    full = sum(one.ratio is not None for one in standings)
    tried = f"of {len(standings)} ways {looked} were looked at and {full} measured in full, in {seconds:.0f} s"
    if winner.status == "baseline" and not _tried(standings):
        return f"objective={objective}: nothing was tried, which would have to be better than the dense model as PyTorch runs it; {tried}"
    if winner.status == "baseline":
        return f"objective={objective}: nothing that was tried is better than the dense model as PyTorch runs it; {tried}"
    over, loss = winner.over_baseline(), winner.loss
    assert over is not None
    assert loss is not None
    span = "" if over.low is None or over.high is None else f" ({over.low:.2f} to {over.high:.2f})"
    lost = f"{round(loss.value, 2) + 0.0:.2f} points on validation ({span_of(loss)})"
    found = (
        f"objective={objective}: {winner.candidate.name} takes {over.value:.2f}{span} times {_TAKES[objective]} of the dense model as PyTorch "
        f"runs it, and loses {lost if loss.n else 'nothing: its weights and precision are the same'}; {tried}"
    )
    if loss.certified(bound):
        return found
    needed = loss.examples_needed(bound)
    return f"{found}: cannot certify max_quality_loss={bound:g}" + (
        "" if needed is None else f"; needs about {needed:,} examples"
    )


def _tried(standings: Sequence[Standing]) -> bool:
    """Whether anything is known of any of them: what it takes, or that it loses too much."""
    return any(one.over_baseline() is not None or one.status == BEYOND for one in standings)


def flags(winner: Standing, standings: Sequence[Standing], bound: float, cut_short: bool = False) -> list[str]:
    """What the record should warn of.

    Args:
        cut_short: whether the time ended the finals.
    """
    found = []
    if winner.status == "baseline":
        found.append("nothing_better" if _tried(standings) else "nothing_tried")
    elif winner.loss is None or not winner.loss.certified(bound):
        found.append("not_certified")
    if cut_short or any(TIME_SPENT in one.why for one in standings):
        found.append("search_cut_short")
    return found
