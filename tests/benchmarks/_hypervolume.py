"""The space that a set of points dominates."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, ...]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Volume of what is no better than some point and better than the reference; of every coordinate less is better.

    By slices along the last coordinate. Source: Zitzler, "Evolutionary Algorithms for Multiobjective Optimization", 1999; the slicing is
    that of While et al., "A Faster Algorithm for Calculating Hypervolume", 2006.
    """
    inside = sorted(
        (one for one in set(points) if all(mine < bound for mine, bound in zip(one, reference, strict=True))),
        key=lambda one: one[-1],
    )
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    ends = [one[-1] for one in inside[1:]] + [reference[-1]]
    return sum(
        (end - one[-1]) * hypervolume([other[:-1] for other in inside[: place + 1]], reference[:-1])
        for place, (one, end) in enumerate(zip(inside, ends, strict=True))
        if end > one[-1]
    )
