"""Blocks of a model that are gone, and which of the full model's are left."""

from __future__ import annotations

from torch import nn

KEPT = "kept_blocks"
"""Attribute of a container that has lost some: the numbers that those it has left had in the full model."""

BlockList = nn.ModuleList | nn.Sequential


def kept_blocks(container: BlockList) -> list[int]:
    """The numbers that the container's blocks have in the full model, ascending."""
    kept: list[int] | None = getattr(container, KEPT, None)
    return list(range(len(container))) if kept is None else list(kept)


def keep_blocks(container: BlockList, numbers: list[int]) -> None:
    """Drop all others, in place. What is left is counted anew from 0, as in a model built with so few.

    Args:
        numbers: as the container counts now, ascending.
    """
    originals = kept_blocks(container)
    for number in reversed(range(len(container))):
        if number not in numbers:
            del container[number]
    setattr(container, KEPT, [originals[number] for number in numbers])


def block_lists(model: nn.Module) -> dict[str, BlockList]:
    """By name: what holds modules by number, not by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if name and isinstance(module, (nn.ModuleList, nn.Sequential)) and all(one.isdigit() for one in module._modules)
    }


def full_names(model: nn.Module) -> dict[str, str]:
    """By parameter name: the name that it has in the full model, whose blocks are counted otherwise."""
    kept = {name: kept_blocks(one) for name, one in block_lists(model).items()}
    found = {}
    for name, _ in model.named_parameters():
        parts = name.split(".")
        found[name] = ".".join(
            str(kept[prefix][int(part)]) if (prefix := ".".join(parts[:place])) in kept else part
            for place, part in enumerate(parts)
        )
    return found
