"""Whole blocks go: the model that comes out is shallower, and each of its layers as wide as before.

A block can go if it leaves the shape of what it gets as it is: any of a transformer, and those of a resnet whose shortcut is nothing
but the input.

Sources: Fan et al., "Reducing Transformer Depth on Demand with Structured Dropout", 2019, for evenly spaced blocks; Men et al.,
"ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024, for those that change their input least.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.config.choices.pruners import LayerDrop, Spacing
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import UnitPruner
from thrifty.pruners.blocks import block_lists, keep_blocks
from thrifty.pruners.protected_layers import protected_layers


@dataclass(frozen=True)
class Block:
    """A block that can go."""

    container: str
    number: int
    """As its container counts."""
    parameters: int

    @property
    def name(self) -> str:
        """The module's."""
        return f"{self.container}.{self.number}"


class LayerDropPruner(UnitPruner):
    """Drops as many blocks as hold the share of all droppable blocks' parameters that is nearest to the one asked for."""

    calibrates = True
    config: LayerDrop

    def shrink(self, model: nn.Module, sparsity: float, example: Tensor, calibration: Calibration | None = None) -> nn.Module:
        """A copy, in evaluation mode, without the blocks that `which` says; a transformer keeps one at least.

        Args:
            sparsity: share of the parameters of all blocks that can go.
            example: is not looked at.
            calibration: with which=importance, one example or more.

        Raises:
            BadConfiguration: which=importance without calibration examples, or `protect` names a layer that there is not.
            Unsupported: no block can go, or the nearest share is none of them, or all of a transformer's.
        """
        smaller = copy.deepcopy(model).eval()
        blocks, most = _droppable(smaller, protected_layers(smaller, self.config.protect))
        if most < 1:
            raise Unsupported(
                "pruner=layer_drop: no block of the model can go; it takes two or more of a transformer's, or one of a resnet's that "
                "changes no shape, beside those of pruner.protect; take pruner=structured_l1"
            )
        total = sum(block.parameters for block in blocks)
        choices = list(self._choices(smaller, blocks, calibration))
        shares = [sum(block.parameters for block in choice) / total for choice in choices]
        nearest = min(range(len(choices)), key=lambda count: abs(shares[count] - sparsity))
        if not 1 <= nearest <= most:
            possible = ", ".join(f"{share:.3g}" for share in shares[1 : most + 1])
            raise Unsupported(
                f"sparsity={sparsity:g}: is nearest to {'none' if nearest == 0 else 'all'} of the model's {len(blocks)} blocks; "
                f"pruner=layer_drop can remove {possible} of their parameters"
            )
        dropped = choices[nearest]
        for container in {block.container for block in dropped}:
            held = block_lists(smaller)[container]
            gone = {block.number for block in dropped if block.container == container}
            keep_blocks(held, [number for number in range(len(held)) if number not in gone])
        self.about = [
            f"dropped {len(dropped)} of {len(blocks)} blocks that can go: {', '.join(block.name for block in blocks if block in dropped)}",
            f"{100 * shares[nearest]:.2f} % of their {total:,} parameters are gone, where {100 * sparsity:g} % were asked for",
        ]
        return smaller

    def _choices(self, model: nn.Module, blocks: list[Block], calibration: Calibration | None) -> Iterable[list[Block]]:
        """Which blocks go if none, one, two and so on do."""
        if self.config.which is Spacing.even:
            return [[blocks[place] for place in evenly_spaced(count, len(blocks))] for count in range(len(blocks) + 1)]
        if self.config.which is Spacing.last:
            order = blocks[::-1]
        else:
            if calibration is None or calibration.examples < 1:
                raise BadConfiguration(
                    "method.calibration=0: is too few examples for pruner=layer_drop pruner.which=importance, which compares what goes "
                    "into a block with what comes out; give some, or pruner.which=even"
                )
            alike = similarities(model, [block.name for block in blocks], calibration)
            order = sorted(blocks, key=lambda block: -alike[block.name])
        return [order[:count] for count in range(len(blocks) + 1)]


def evenly_spaced(count: int, among: int) -> list[int]:
    """`count` of the numbers from 0 to `among` - 1, as far from each other as from the ends: of 12, 6 are 1, 3, 5, 7, 9, 11."""
    return [(2 * place + 1) * among // (2 * count) for place in range(count)]


def similarities(model: nn.Module, names: list[str], calibration: Calibration) -> dict[str, float]:
    """By block: the cosine of the angle between what goes in and what comes out, mean over positions and calibration examples.

    A position is a token's or a patch's vector, or a pixel's channels. ShortGPT's block influence is 1 minus this.
    """
    totals = dict.fromkeys(names, 0.0)

    def looking_at(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def look(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
            features = 1 if made.dim() == 4 else -1  # an image's channels come before its sides
            totals[name] += float(F.cosine_similarity(given[0].float(), made.float(), dim=features).mean()) * len(made)

        return look

    hooks = [model.get_submodule(name).register_forward_hook(looking_at(name)) for name in names]
    try:
        with torch.no_grad():
            for _ in calibration.outputs(model):
                pass
    finally:
        for hook in hooks:
            hook.remove()
    return {name: total / calibration.examples for name, total in totals.items()}


def _droppable(model: nn.Module, protected: set[str]) -> tuple[list[Block], int]:
    """The blocks that can go, from the input on, and how many of them may."""
    found = []
    must_stay = 0
    for name, container in block_lists(model).items():
        numbers = [number for number, block in enumerate(container) if _keeps_shape(container, block)]
        free = [number for number in numbers if not _touches(f"{name}.{number}", protected)]
        found += [Block(name, number, sum(one.numel() for one in container[number].parameters())) for number in free]
        if free and isinstance(container, nn.ModuleList) and len(free) == len(container):
            must_stay = 1
    return found, len(found) - must_stay


def _keeps_shape(container: nn.Module, block: nn.Module) -> bool:
    """A transformer's block, which adds to a stream, or a resnet's without anything in its shortcut."""
    if isinstance(container, nn.ModuleList):
        return hasattr(block, "attention")
    return isinstance(getattr(block, "shortcut", None), nn.Identity)


def _touches(block: str, protected: set[str]) -> bool:
    return any(name == block or name.startswith(f"{block}.") for name in protected)


def build(config: LayerDrop) -> UnitPruner:
    """The pruner a configuration names."""
    return LayerDropPruner(config)
