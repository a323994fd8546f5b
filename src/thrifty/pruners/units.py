"""Making a module smaller by its least important neurons, channels and attention heads."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from thrifty.config.choices.pruners import Counted
from thrifty.errors import Unsupported
from thrifty.measure.flops import forward_flops
from thrifty.pruners.form import form_of, given_form
from thrifty.pruners.protected_layers import protected_layers
from thrifty.pruners.unit_groups import UnitGroup, remove, unit_groups

Importance = dict[str, Tensor]
"""By parameter name, for every `weight` of a linear layer or a convolution: how much each of its weights matters."""


def shrink_units(
    model: nn.Module,
    example: Tensor,
    importance: Importance,
    sparsity: float,
    counts: Counted,
    multiple: int,
    protect: list[str],
) -> tuple[nn.Module, list[str]]:
    """A copy, in evaluation mode, without the units whose weights matter least on average, ranked over all layers together.

    A unit is a hidden neuron, a convolution's channel or an attention head, with its weights in every layer that makes or reads it.
    Each group of units keeps one at least. The share removed is as near to `sparsity` as the ranking allows: one unit more would
    be farther off, and one less.

    Args:
        example: a batch of inputs, on the model's device.
        sparsity: share to remove, of what `counts` says: the weights (without biases) of linear layers and convolutions that are
            neither protected nor the model's outputs, or the operations of a forward pass of one example.
        multiple: of which the widths that are left are, where the full width is at least that.
        protect: kinds of parameters, which are no units and of which the outputs and the embeddings stay in any case; and names or
            patterns of layers whose outputs all stay.

    Returns:
        The copy, and sentences on what was removed.

    Raises:
        BadConfiguration: `protect` names a layer that there is not.
        Unsupported: nothing can be removed, or not as much.
    """
    smaller = _traceable(model)
    dtype = next(smaller.parameters()).dtype
    inputs = example[:2].to(dtype) if example.is_floating_point() else example[:2]  # two are as good as many
    protected = protected_layers(smaller, protect)
    groups, outputs = unit_groups(smaller, inputs, multiple, protected)
    if not groups:
        raise Unsupported(
            "pruner: there are no hidden neurons, channels or heads that could be removed: all are protected, or fewer than "
            f"pruner.multiple={multiple}; give less of either, or take pruner=magnitude"
        )
    ranking = _Ranking(groups, importance)
    shares = _Shares(smaller, inputs[:1], groups, counts, protected | outputs)
    gone = ranking.nearest(sparsity, shares)
    for number, (group, count) in enumerate(zip(groups, gone, strict=True)):
        if count:
            remove(smaller, group, ranking.units[number][:count])
    for name, one in model.named_parameters():
        smaller.get_parameter(name).requires_grad_(one.requires_grad)
    full = model.state_dict()
    for name, one in smaller.state_dict(keep_vars=True).items():
        one.data = one.data.to(full[name].dtype)
    return smaller, _sentences(groups, gone, shares, sparsity)


def _traceable(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose passes leave a graph, in 32 bits at least, which every device computes in."""
    made = copy.deepcopy(model).eval().requires_grad_(True)
    return made if all(one.dtype in (torch.float32, torch.float64) for one in made.parameters()) else made.float()


class _Ranking:
    """All units that may go, least important first."""

    def __init__(self, groups: list[UnitGroup], importance: Importance) -> None:
        self.groups = groups
        scores = [_scores(group, importance) for group in groups]
        self.units = [torch.argsort(one, stable=True) for one in scores]
        """By group: its units, least important first."""
        may_go = [order[: group.units - group.step] for group, order in zip(groups, self.units, strict=True)]
        numbers = torch.cat([torch.full((len(one),), number) for number, one in enumerate(may_go)])
        ranked = torch.cat([one[order] for one, order in zip(scores, may_go, strict=True)])
        self.order = numbers[torch.argsort(ranked, stable=True)]
        """Of the units that may go: the numbers of their groups."""

    def gone(self, order: Tensor) -> tuple[int, ...]:
        """How many units each group loses if those go that `order` lists, fewer where a multiple has to be left."""
        counts = torch.bincount(order, minlength=len(self.groups)).tolist()
        return tuple(_whole_steps(count, group) for count, group in zip(counts, self.groups, strict=True))

    def nearest(self, sparsity: float, shares: _Shares) -> tuple[int, ...]:
        """How many units each group loses so that the share removed is as near to `sparsity` as it gets.

        Raises:
            Unsupported: it is more than there is to remove.
        """
        largest = shares.of(self.gone(self.order))
        if largest < sparsity:
            raise Unsupported(
                f"sparsity={sparsity:g}: of the model's {shares.noun} at most {math.floor(largest * 1000) / 1000:g} can be removed in "
                "whole units, as one of each group is left and outputs and protected layers stay; give at most that"
            )
        fits = self._fitting(self.order, 0, sparsity, shares)
        found = [self.order[:fits], self.order[: fits + 1]]
        # A head weighs as much as hundreds of neurons: where the next unit to go would be one and too much, neurons go instead.
        small = torch.tensor([group.what == "units" for group in self.groups])
        rest = self.order[fits:]
        if len(rest) and not small[rest[0]]:
            finer = torch.cat([self.order[:fits], rest[small[rest]]])
            fits = self._fitting(finer, fits, sparsity, shares)
            found += [finer[:fits], finer[: fits + 1]]
        return min((self.gone(one) for one in found), key=lambda gone: abs(shares.of(gone) - sparsity))

    def _fitting(self, order: Tensor, least: int, sparsity: float, shares: _Shares) -> int:
        """How many of the first in `order` can go without the share being larger than asked; `least` can."""
        most = len(order)
        while least < most:
            middle = (least + most + 1) // 2
            if shares.of(self.gone(order[:middle])) <= sparsity:
                least = middle
            else:
                most = middle - 1
        return least


def _scores(group: UnitGroup, importance: Importance) -> Tensor:
    """Mean importance of the weights of each unit, float64 (units)."""
    total, weights = torch.zeros(group.units, dtype=torch.float64), 0
    for member in group.members:
        of_weights = importance.get(f"{member.layer}.weight")
        if of_weights is None or of_weights.dim() == 1:
            continue  # a norm: two numbers for a channel, which has hundreds of weights
        by_index = of_weights.detach().double().cpu().transpose(0, 1 if member.side == "in" else 0).flatten(1)
        total += by_index.sum(1)[member.indices].sum(1)
        weights += by_index.shape[1] * member.indices.shape[1]
    return total / weights


def _whole_steps(count: int, group: UnitGroup) -> int:
    """As many of `count` units as may go so that a multiple of the group's step is left, or all of it."""
    left = -(-(group.units - count) // group.step) * group.step
    return max(0, group.units - left)


class _Shares:
    """What share of a model is gone with its units: counted on a model of that size without memory, never estimated."""

    def __init__(self, model: nn.Module, inputs: Tensor, groups: list[UnitGroup], counts: Counted, uncounted: set[str]) -> None:
        self._full = copy.deepcopy(model).to("meta")
        self._form = form_of(self._full)
        self._inputs, self._groups, self._counts, self._uncounted = inputs, groups, counts, uncounted
        self._known: dict[tuple[int, ...], int] = {}
        self.noun = "weights" if counts is Counted.parameters else "operations"
        self.whole = self.left((0,) * len(groups))

    def of(self, gone: tuple[int, ...]) -> float:
        """The share that is gone with so many units of each group."""
        return 1 - self.left(gone) / self.whole

    def left(self, gone: tuple[int, ...]) -> int:
        """Weights that count, or operations of a forward pass of one example."""
        if gone not in self._known:
            self._known[gone] = self._count(gone)
        return self._known[gone]

    def _count(self, gone: tuple[int, ...]) -> int:
        form = copy.deepcopy(self._form)
        for group, count in zip(self._groups, gone, strict=True):
            for member in group.members:
                sizes = form["layers"][member.layer]
                (size,) = [name for name in sizes if name == "num_features" or name.startswith(f"{member.side}_")]
                sizes[size] -= count * member.indices.shape[1]
        # Blocks that are gone already are gone from the full one here as well.
        smaller = given_form(copy.deepcopy(self._full), {"blocks": {}, "layers": form["layers"]})
        if self._counts is Counted.flops:
            return forward_flops(lambda: smaller, self._inputs)
        layers = {name: one for name, one in smaller.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}
        return sum(one.weight.numel() for name, one in layers.items() if name not in self._uncounted)


def _sentences(groups: list[UnitGroup], gone: tuple[int, ...], shares: _Shares, sparsity: float) -> list[str]:
    removed = []
    for what, noun in (("heads", "attention heads"), ("units", "neurons and channels")):
        of_kind = [(group.units, count) for group, count in zip(groups, gone, strict=True) if group.what == what]
        if of_kind:
            removed.append(f"{sum(count for _, count in of_kind):,} of {sum(units for units, _ in of_kind):,} {noun}")
    return [
        f"removed {' and '.join(removed)}",
        f"{100 * shares.of(gone):.2f} % of {shares.whole:,} {shares.noun} are gone, where {100 * sparsity:g} % were asked for",
    ]
