"""Which layers a quantizer converts, what stays, and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import CHOICES, load
from thrifty.errors import BadConfiguration
from thrifty.quantizers.base import Quantizer


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList([nn.Linear(64, 64), nn.Linear(64, 48)])
        self.tied = nn.Linear(16, 10, bias=False)
        self.embedding = nn.Embedding(10, 16)
        self.tied.weight = self.embedding.weight
        self.head = nn.Linear(48, 5)


def quantizer(name: str, **changes: object) -> Quantizer:
    return load("quantizer", name)(chosen(f"quantizer={name}", **changes))


def small() -> Small:
    with torch.device("meta"):
        return Small()


@pytest.mark.parametrize("name", sorted(CHOICES["quantizer"]))
def test_every_layer_is_converted_kept_or_told_of(name: str) -> None:
    targets = quantizer(name).targets(small())
    assert targets.total == 5
    assert sorted([*targets.layers, *targets.kept, *targets.unfit]) == ["blocks.0", "blocks.1", "conv", "head", "tied"]
    assert "tied" in targets.unfit, "a weight of two names cannot be replaced under one of them"
    assert f"quantised: {len(targets.layers)} of 5 layers" in targets.sentence


def test_convolutions_are_for_static_scales_only() -> None:
    assert "conv" in quantizer("int8_static").targets(small()).layers
    assert "convolution" in quantizer("int8_dynamic").targets(small()).unfit["conv"]


def test_groups_must_divide() -> None:
    unfit = quantizer("int4_weight", group=64).targets(small()).unfit
    assert unfit["head"] == "its 48 inputs do not divide into groups of 64"


def test_what_is_kept_is_named_by_layer_or_pattern() -> None:
    assert quantizer("int8_dynamic", keep=["blocks.*"]).targets(small()).kept == ["blocks.0", "blocks.1"]
    assert quantizer("int8_dynamic", keep=["blocks"]).targets(small()).kept == ["blocks.0", "blocks.1"]
    with pytest.raises(BadConfiguration, match=r"no layer is called 'haed'; did you mean 'head'\?"):
        quantizer("int8_dynamic", keep=["haed"]).targets(small())


@pytest.mark.parametrize("name", ["fp8_dynamic", "fp8_weight"])
def test_eight_bit_floating_point_is_refused_on_processors(name: str) -> None:
    reason = quantizer(name).unsupported("cpu")
    assert reason is not None
    assert reason.startswith(f"quantizer={name}: ")
    assert "\n" not in reason
