"""Which layers a quantizer converts, what stays, and why."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import CHOICES, load
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.layers.quantized import quantized
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["fp8_dynamic", "fp8_weight"])
def test_eight_bits_of_floating_point_are_near_the_weight(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Converted where there is no GPU for it: only its products need one."""
    quant_api = pytest.importorskip("torchao.quantization.quant_api")
    monkeypatch.setattr(quant_api, "_check_hardware_support", lambda granularity: None)
    torch.manual_seed(0)
    layer = nn.Linear(64, 32).to(dtype)
    found = quantized(quantizer(name).converted(layer))
    assert found is not None
    assert found.weight.dtype is torch.float8_e4m3fn
    # 3 bits of mantissa: at most a sixteenth of the number, and of the smallest a share of the scale.
    off = (found.dense() - layer.weight.float()).abs()
    assert bool((off <= layer.weight.float().abs() / 16 + found.scale.float()[:, None] * 2**-9).all())


def test_sizes_that_eight_bit_products_do_not_take_are_left() -> None:
    model = nn.Sequential(nn.Linear(64, 10), nn.Linear(64, 32), nn.Linear(10, 16))
    found = quantizer("fp8_dynamic").targets(model)
    assert found.layers == ["1"]
    assert found.unfit["0"] == "its 64 inputs or 10 outputs do not divide by 16"


def test_what_torchao_passes_over_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    quant_api = pytest.importorskip("torchao.quantization.quant_api")
    monkeypatch.setattr(quant_api, "_check_hardware_support", lambda granularity: None)
    with pytest.raises(Unsupported, match="torchao left a layer of 10 x 64 as it was"):
        quantizer("fp8_dynamic").converted(nn.Linear(64, 10))


@pytest.mark.parametrize("name", ["int8_dynamic", "int8_weight", "int8_static", "int4_weight"])
def test_a_layer_that_is_never_called_is_left(name: str) -> None:
    model = nn.TransformerEncoderLayer(64, 2, 64)
    found = quantizer(name).targets(model)
    assert found.layers == ["linear1", "linear2"]
    assert "never calls it" in found.unfit["self_attn.out_proj"]


@pytest.mark.parametrize("name", ["fp8_dynamic", "fp8_weight"])
def test_eight_bit_floating_point_is_refused_on_processors(name: str) -> None:
    reason = quantizer(name).unsupported("cpu")
    assert reason is not None
    assert reason.startswith(f"quantizer={name}: ")
    assert "\n" not in reason
