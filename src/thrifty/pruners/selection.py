"""Which weights go, given a score for each: those of the lowest scores, in exactly the number asked for.

Scores are by parameter name and of the parameter's shape. Of equal scores those go first that come first, so that ties are
neither over nor under the number, and the same on every device. Masks are bool, True for what stays. Weights that `held` masks
have removed stay removed and count; where these are more than asked for, they are all that goes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from thrifty.config.choices.pruners import Scope
from thrifty.errors import BadData
from thrifty.pruners.base import Masks

Scores = dict[str, Tensor]


def by_scope(scope: Scope, scores: Scores, sparsity: float, held: Masks | None = None) -> Masks:
    """Ranked over all tensors together, or the same share of each."""
    return (of_all if scope.name == "global" else of_each)(scores, sparsity, held)


def of_all(scores: Scores, sparsity: float, held: Masks | None = None) -> Masks:
    """Remove round(sparsity * total) weights, ranked over all tensors together.

    Raises:
        BadData: a score that is not a finite number.
    """
    ranked = _held_first(scores, held)
    count = _number(scores, sparsity, held)
    removed = lowest(torch.cat([one.flatten() for one in ranked.values()]), count)
    parts = removed.split([one.numel() for one in scores.values()])
    return {name: ~part.view(one.shape) for (name, one), part in zip(scores.items(), parts, strict=True)}


def of_each(scores: Scores, sparsity: float, held: Masks | None = None) -> Masks:
    """The same share of each tensor, to one weight, so that round(sparsity * total) go in all.

    Where `held` has removed more than its share of a tensor, the others lose the less.

    Raises:
        BadData: a score that is not a finite number.
    """
    counts = _counts(scores, sparsity, held)
    ranked = _held_first(scores, held)
    return {name: ~lowest(one.flatten(), counts[name]).view(one.shape) for name, one in ranked.items()}


def of_rows(scores: Scores, sparsity: float, held: Masks | None = None) -> Masks:
    """The same number in every row of a tensor's first dimension, and the same share of each tensor.

    Where the share is no whole number, some rows lose one more than others, those whose next score is lowest, so that
    round(sparsity * total) go in all. A tensor of one dimension is a single row.

    Raises:
        BadData: a score that is not a finite number.
    """
    counts = _counts(scores, sparsity, held)
    masks = {}
    for name, one in _held_first(scores, held).items():
        rows = one.flatten(1) if one.ndim > 1 else one.view(1, -1)
        ordered, order = rows.sort(dim=1, stable=True)
        quotas = _row_quotas(ordered, counts[name])
        goes = torch.arange(rows.shape[1], device=rows.device) < quotas[:, None]
        masks[name] = torch.ones_like(rows, dtype=torch.bool).scatter_(1, order, ~goes).view(one.shape)
    return masks


def of_groups(scores: Scores, n: int, m: int, held: Masks | None = None) -> Masks:
    """Of every m neighbours the n highest stay, along all dimensions but the first, flattened (inputs, kernel height and width).

    Raises:
        BadData: a score that is not a finite number.
        ValueError: a row that m does not divide.
    """
    masks = {}
    for name, one in _held_first(scores, held).items():
        if one.ndim < 2 or one[0].numel() % m:
            raise ValueError(f"{name}: rows of {tuple(one.shape)} are not of groups of {m}")
        groups = one.reshape(-1, m)
        order = groups.argsort(dim=1, stable=True)
        mask = torch.ones_like(groups, dtype=torch.bool).scatter_(1, order[:, : m - n], False).view(one.shape)
        masks[name] = mask if held is None or name not in held else mask & held[name].to(one.device)
    return masks


def lowest(scores: Tensor, count: int) -> Tensor:
    """True at exactly `count` of the lowest of (n,) scores, of equal ones at the first."""
    if count <= 0 or count >= len(scores):
        return torch.full_like(scores, count > 0, dtype=torch.bool)
    # torch's kthvalue on CUDA is refused where algorithms have to be deterministic.
    edge = scores.sort().values[count - 1] if scores.is_cuda else scores.kthvalue(count).values
    removed = scores < edge
    tied = (scores == edge).nonzero().flatten()
    removed[tied[: count - int(removed.sum())]] = True
    return removed


def shares(sizes: dict[str, int], gone: dict[str, int], total: int) -> dict[str, int]:
    """`total` dealt out in proportion to sizes, each to one (largest remainders), and at least what is gone already.

    The sum is `total`, or that of `gone` where it is more.
    """
    counts: dict[str, int] = {}
    free, rest = dict(sizes), total
    while True:  # who has had more than a share takes from the others, which may make another one of those
        whole = sum(free.values())
        over = [name for name, size in free.items() if gone.get(name, 0) * whole >= rest * size]
        for name in over:
            counts[name] = gone.get(name, 0)
            rest -= counts[name]
            del free[name]
        if not over:
            break
    whole = sum(free.values())
    for name, size in free.items():
        counts[name] = rest * size // whole
    by_remainder = sorted(free, key=lambda name: -(rest * free[name] % whole))  # sorted keeps the order of equal ones
    for name in by_remainder[: rest - sum(counts[name] for name in free)]:
        counts[name] += 1
    return {name: counts[name] for name in sizes}


def _row_quotas(ordered: Tensor, count: int) -> Tensor:
    """How many go from each row of sorted scores (rows, columns), whose held ones are -inf: (rows,), `count` in all."""
    gone = ordered.isneginf().sum(1)
    low, high = 0, ordered.shape[1]
    while low < high:  # the highest level at which rows that lose at least so much are not over the count
        level = (low + high + 1) // 2
        if int(gone.clamp(min=level).sum()) <= count:
            low = level
        else:
            high = level - 1
    quotas = gone.clamp(min=low)
    more = count - int(quotas.sum())
    if more > 0:
        upcoming = ordered[:, min(low, ordered.shape[1] - 1)]
        open_rows = (gone <= low).nonzero().flatten()
        quotas[open_rows[lowest(upcoming[open_rows], more)]] += 1
    return quotas


def _counts(scores: Scores, sparsity: float, held: Masks | None) -> dict[str, int]:
    """How many go from each tensor, in the same share."""
    sizes = {name: one.numel() for name, one in scores.items()}
    return shares(sizes, _gone(scores, held), _number(scores, sparsity, held))


def _number(scores: Scores, sparsity: float, held: Masks | None) -> int:
    """How many go in all."""
    total = sum(one.numel() for one in scores.values())
    return max(round(sparsity * total), sum(_gone(scores, held).values()))


def _gone(scores: Scores, held: Masks | None) -> dict[str, int]:
    held = held or {}
    return {name: int((~held[name]).sum()) for name in scores if name in held}


def _held_first(scores: Scores, held: Masks | None) -> Scores:
    """Scores as float32 or 64, with -inf for what is removed already."""
    ranked = {}
    for name, one in scores.items():
        wide = one.detach() if one.dtype is torch.float64 else one.detach().float()
        gone = None if held is None or name not in held else ~held[name].to(one.device)
        if gone is not None:  # no score is asked for of what is gone: zero times an infinite one is not a number
            wide = wide.masked_fill(gone, 0.0)
        if not bool(wide.isfinite().all()):
            raise BadData(
                f"{name}: some of its weights have no rank, as their scores are infinite or not a number; the model has diverged, "
                "so train it again or take an earlier one"
            )
        ranked[name] = wide if gone is None else wide.masked_fill(gone, -torch.inf)
    return ranked
