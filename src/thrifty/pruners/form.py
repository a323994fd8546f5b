"""The form of a model that is smaller than its architecture says, so that it can be built again without what made it smaller.

A form is plain JSON: `blocks`, by container, the numbers that the blocks left have in the full model; and `layers`, by name, the
sizes of every layer with weights. It can only take away: sizes are at most the full model's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from thrifty.pruners.blocks import KEPT, block_lists, keep_blocks, kept_blocks
from thrifty.pruners.heads import attentions

SIZES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: ("in_channels", "out_channels", "groups"),
    nn.BatchNorm2d: ("num_features",),
    nn.LayerNorm: ("normalized_shape",),
    nn.Embedding: ("num_embeddings", "embedding_dim"),
}
"""Attributes that say how large a layer's weights are."""

Form = dict[str, Any]


def form_of(model: nn.Module) -> Form:
    """The blocks and sizes of a model as it is now, as plain JSON."""
    blocks = {name: kept_blocks(one) for name, one in block_lists(model).items() if hasattr(one, KEPT)}
    layers = {name: _sizes(module) for name, module in model.named_modules() if _kind(module) is not None}
    return {"blocks": blocks, "layers": layers}


def given_form(model: nn.Module, form: Form) -> nn.Module:
    """The same model, changed in place: without the blocks that the form lacks, and with layers of its sizes.

    Args:
        model: full, as its architecture builds it, on the meta device or with memory. What a layer that has become smaller holds is
            anything until it is written; the others keep their weights.

    Raises:
        ValueError: not a form of this model, in one line. The model may be changed in part then.
    """
    if not isinstance(form, dict) or set(form) != {"blocks", "layers"}:
        raise ValueError("form: is not an object of blocks and layers")
    blocks = _mapping(form, "blocks")
    # The outermost first: names are those of the smaller model, and dropping blocks renames what is inside of the later ones.
    for name in sorted(blocks, key=lambda name: name.count(".")):
        container = block_lists(model).get(name)
        if container is None:
            raise ValueError(f"form: blocks: the model has no {_shown(name)} with blocks")
        keep_blocks(container, _block_numbers(name, blocks[name], len(container)))
    heads = {one.name: one.width for one in attentions(model)}
    modules = dict(model.named_modules())
    for name, sizes in _mapping(form, "layers").items():
        module = modules.get(name)
        if module is None or _kind(module) is None:
            raise ValueError(f"form: layers: the model has no layer {_shown(name)}")
        _resize(module, _checked(name, module, sizes))
    whole = {one.name: one for one in attentions(model)}
    for name, width in heads.items():
        if name not in whole or whole[name].width != width:
            raise ValueError(f"form: layers: {name} has a part of a head")
    return model


def _mapping(form: Form, key: str) -> dict[str, Any]:
    value = form[key]
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"form: {key}: is not an object")
    return value


def _block_numbers(name: str, numbers: Any, count: int) -> list[int]:
    if not isinstance(numbers, list) or not all(type(one) is int and 0 <= one < count for one in numbers):
        raise ValueError(f"form: blocks: {name}: must be a list of numbers from 0 to {count - 1}")
    if numbers != sorted(set(numbers)):
        raise ValueError(f"form: blocks: {name}: numbers must ascend, each once")
    return numbers


def _kind(module: nn.Module) -> type[nn.Module] | None:
    return next((kind for kind in SIZES if isinstance(module, kind)), None)


def _sizes(module: nn.Module) -> dict[str, Any]:
    kind = _kind(module)
    assert kind is not None
    return {name: list(size) if isinstance(size := getattr(module, name), tuple) else size for name in SIZES[kind]}


def _checked(name: str, module: nn.Module, sizes: Any) -> dict[str, Any]:
    """The sizes, each a whole number from 1 to what the layer has."""
    full = _sizes(module)
    if not isinstance(sizes, dict) or set(sizes) != set(full):
        raise ValueError(f"form: layers: {name}: must give {', '.join(full)}")
    for key, most in full.items():
        given = sizes[key] if isinstance(most, list) else [sizes[key]]
        mosts = most if isinstance(most, list) else [most]
        if not isinstance(given, list) or len(given) != len(mosts):
            raise ValueError(f"form: layers: {name}: {key} must be a list of {len(mosts)}")
        for one, limit in zip(given, mosts, strict=True):
            if type(one) is not int or not 1 <= one <= limit:
                raise ValueError(f"form: layers: {name}: {key} must be whole and from 1 to {limit}, not {_shown(one)}")
    if "groups" in sizes and (sizes["in_channels"] % sizes["groups"] or sizes["out_channels"] % sizes["groups"]):
        raise ValueError(f"form: layers: {name}: groups={sizes['groups']} does not divide its channels")
    return sizes


def _shown(value: Any) -> str:
    """In one line, however long or strange it is."""
    return repr(value)[:40]


def _resize(module: nn.Module, sizes: dict[str, Any]) -> None:
    """Sizes and the tensors that follow from them, in the module itself: its kernel, stride and the rest stay."""
    for name, size in sizes.items():
        setattr(module, name, tuple(size) if isinstance(size, list) else size)
    if isinstance(module, nn.Linear):
        shapes = {"weight": (module.out_features, module.in_features), "bias": (module.out_features,)}
    elif isinstance(module, nn.Conv2d):
        weight = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
        shapes = {"weight": weight, "bias": (module.out_channels,)}
    elif isinstance(module, nn.BatchNorm2d):
        shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (module.num_features,))
    elif isinstance(module, nn.LayerNorm):
        shapes = dict.fromkeys(("weight", "bias"), tuple(module.normalized_shape))
    else:
        assert isinstance(module, nn.Embedding)
        shapes = {"weight": (module.num_embeddings, module.embedding_dim)}
    for name, shape in shapes.items():
        held: Tensor | None = getattr(module, name)
        if held is None or held.shape == shape:
            continue
        empty = torch.empty(shape, dtype=held.dtype, device=held.device)
        setattr(module, name, nn.Parameter(empty, held.requires_grad) if isinstance(held, nn.Parameter) else empty)
