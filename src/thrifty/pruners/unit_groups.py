"""Which units a model has, and what goes with each of them: a channel's filter, its norm, and all that read it.

The dependencies of neurons and channels are found by Torch-Pruning (Fang et al., "DepGraph: Towards Any Structural Pruning", 2023),
which follows the autograd graph of one forward pass. Attention heads are our own, as a pass does not show where one begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from thrifty.pruners.heads import attentions

Side = Literal["out", "in"]


@dataclass(frozen=True)
class Member:
    """A layer's part in a group of units."""

    layer: str
    side: Side
    """Whether the units are what the layer puts out, or what it reads."""
    indices: Tensor
    """Of its outputs or inputs by unit, int64 (units, indices of each)."""


@dataclass(frozen=True)
class UnitGroup:
    """Units that can be removed one by one, each with its part of every member."""

    name: str
    """Of the layer that puts them out, or of the attention."""
    what: Literal["heads", "units"]
    members: tuple[Member, ...]
    step: int
    """How many are left is a multiple of it."""

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.members[0].indices)


def unit_groups(model: nn.Module, example: Tensor, multiple: int, protected: set[str]) -> tuple[list[UnitGroup], set[str]]:
    """All units that may go, and the names of the layers whose outputs are the model's.

    Left alone are the model's outputs, the residual stream of a transformer, which embeddings and layer norms run through, and
    what a protected layer puts out. Channels joined by a resnet's shortcuts are one group and stay consistent.

    Args:
        model: in evaluation mode, with gradients allowed.
        example: a batch of what it takes, of its dtype and on its device.
        multiple: of which the widths that are left are to be; a head counts its own width.
        protected: names of layers whose outputs all stay.
    """
    groups, outputs = _traced(model, example, multiple, protected)
    for one in attentions(model):
        layers = f"{one.name}.qkv", f"{one.name}.projection"
        if layers[0] not in protected:
            members = Member(layers[0], "out", one.rows), Member(layers[1], "in", one.columns)
            groups.append(UnitGroup(one.name, "heads", members, multiple // math.gcd(multiple, one.width)))
    # A group of one unit, or of as many as must be left, has nothing to give.
    return [one for one in groups if one.units > one.step], outputs


def _traced(model: nn.Module, example: Tensor, multiple: int, protected: set[str]) -> tuple[list[UnitGroup], set[str]]:
    import torch_pruning as tp

    # It says where it treats an operation that it does not know as acting on each element; that is so for all of ours.
    with torch.enable_grad():
        graph = tp.DependencyGraph().build_dependency(
            model, example_inputs=example, forward_fn=lambda module, inputs: module(inputs), verbose=False
        )
    names = {module: name for name, module in model.named_modules()}
    attending = {f"{one.name}.qkv" for one in attentions(model)}
    groups, outputs = [], set()
    for group in graph.get_all_groups(root_module_types=[nn.Linear, nn.Conv2d]):
        root = names[group[0].dep.target.module]
        if not any(item.dep.target.module in names and _reads(item.dep) for item in group):
            outputs.add(root)
            continue
        members = _members(group, names)
        if members is None:
            continue
        out = {one.layer for one in members if one.side == "out"}
        if not out & (protected | attending):
            groups.append(UnitGroup(root, "units", tuple(members), multiple))
    # Torch-Pruning goes from the outputs back; people read, and ties are broken, from the inputs on.
    order = list(names.values())
    return sorted(groups, key=lambda one: order.index(one.name)), outputs


def _reads(dependency: Any) -> bool:
    """Whether a dependency takes away from what a layer reads (norms take the same for both)."""
    return dependency.handler.__name__ == "prune_in_channels" and isinstance(dependency.target.module, (nn.Linear, nn.Conv2d))


def _members(group: Any, names: dict[Any, str]) -> list[Member] | None:
    """A traced group's layers; None where it runs through something that is not to be cut."""
    units = len(group[0].idxs)
    members = []
    for item in group:
        module = item.dep.target.module
        if isinstance(module, nn.Parameter):
            return None
        if module not in names or not list(module.parameters()):
            continue  # an operation, or a module without weights
        if not isinstance(module, (nn.Linear, nn.Conv2d, nn.BatchNorm2d)) or getattr(module, "groups", 1) != 1:
            return None
        of_unit: list[list[int]] = [[] for _ in range(units)]
        for index, unit in zip(item.idxs, item.root_idxs, strict=True):
            of_unit[unit].append(index)
        if len({len(one) for one in of_unit}) != 1:
            return None  # units of different sizes: an operation in between that makes them no units of this layer
        members.append(Member(names[module], "in" if _reads(item.dep) else "out", torch.tensor(of_unit)))
    return members


def remove(model: nn.Module, group: UnitGroup, units: Tensor) -> None:
    """Cut units, int64 (count), out of every member, in place."""
    import torch_pruning as tp

    for member in group.members:
        layer = model.get_submodule(member.layer)
        cuts = {
            (nn.Linear, "out"): tp.prune_linear_out_channels,
            (nn.Linear, "in"): tp.prune_linear_in_channels,
            (nn.Conv2d, "out"): tp.prune_conv_out_channels,
            (nn.Conv2d, "in"): tp.prune_conv_in_channels,
            (nn.BatchNorm2d, "out"): tp.prune_batchnorm_out_channels,
        }
        (cut,) = [one for (kind, side), one in cuts.items() if isinstance(layer, kind) and side == member.side]
        cut(layer, member.indices[units].flatten().tolist())
