"""Attention heads are removed whole or not at all."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.architectures import gpt
from thrifty.architectures.cache import Decoder
from thrifty.architectures.transformer import Attention
from thrifty.config.choices.pruners import Counted
from thrifty.pruners.heads import attentions
from thrifty.pruners.units import shrink_units

TOKENS = torch.randint(20, (3, 10), generator=torch.Generator().manual_seed(2))


def model_of(width: int, depth: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return gpt.build(chosen("architecture=gpt", width=width, depth=depth), {"vocabulary": 20, "context": 10}, 0.0).eval()


def test_a_head_is_its_queries_keys_values_and_what_reads_them() -> None:
    (attention,) = attentions(model_of(192))
    assert (attention.name, attention.heads, attention.width) == ("blocks.0.attention", 3, 64)
    assert attention.rows.shape == (3, 192)
    # The second of three heads: rows 64 to 127 of the queries, of the keys, which begin at 192, and of the values, at 384.
    assert attention.rows[1].tolist() == [*range(64, 128), *range(256, 320), *range(448, 512)]
    assert attention.columns[2].tolist() == list(range(128, 192))


def _important(model: nn.Module, heads: dict[str, list[float]], rest: float) -> dict[str, torch.Tensor]:
    """The same importance for all weights of a head, and one for those of all neurons."""
    importance = {
        f"{name}.weight": torch.full_like(one.weight, rest) for name, one in model.named_modules() if isinstance(one, nn.Linear)
    }
    for name, scores in heads.items():
        for head, score in enumerate(scores):
            own = slice(64 * head, 64 * head + 64)
            importance[f"{name}.projection.weight"][:, own] = score
            for part in importance[f"{name}.qkv.weight"].chunk(3):
                part[own] = score
    return importance


def test_the_least_important_head_goes_whole() -> None:
    dense = model_of(192)
    importance = _important(dense, {"blocks.0.attention": [3.0, 1.0, 2.0]}, 10.0)
    # 192 * 192 * (3 + 1 + 4 + 4) weights; a head is 64 * 192 * 4 of them, a ninth of what attention and feed-forward have.
    smaller, about = shrink_units(dense, TOKENS, importance, 1 / 9, Counted.parameters, 1, [])
    assert about == [
        "removed 1 of 3 attention heads and 0 of 768 neurons and channels",
        "11.11 % of 442,368 weights are gone, where 11.1111 % were asked for",
    ]
    left, attention = smaller.get_submodule("blocks.0.attention"), dense.get_submodule("blocks.0.attention")
    assert isinstance(left, Attention)
    assert isinstance(attention, Attention)
    assert left.heads == 2
    assert (left.qkv.out_features, left.projection.in_features) == (384, 128)
    kept = [*range(64), *range(128, 192)]
    for part, whole in zip(left.qkv.weight.chunk(3), attention.qkv.weight.chunk(3), strict=True):
        assert torch.equal(part, whole[kept])
    for part, whole in zip(left.qkv.bias.chunk(3), attention.qkv.bias.chunk(3), strict=True):
        assert torch.equal(part, whole[kept])
    assert torch.equal(left.projection.weight, attention.projection.weight[:, kept])
    assert torch.equal(left.projection.bias, attention.projection.bias)


def test_its_output_is_that_of_the_dense_one_with_the_head_masked() -> None:
    dense = model_of(192)
    importance = _important(dense, {"blocks.0.attention": [3.0, 1.0, 2.0]}, 10.0)
    smaller, _ = shrink_units(dense, TOKENS, importance, 1 / 9, Counted.parameters, 1, [])
    masked = copy.deepcopy(dense)
    masked.get_parameter("blocks.0.attention.projection.weight").data[:, 64:128] = 0
    with torch.no_grad():
        torch.testing.assert_close(smaller(TOKENS), masked(TOKENS), rtol=1e-5, atol=1e-5)


def test_each_layer_keeps_a_head() -> None:
    """However little those of one layer matter."""
    dense = model_of(128, depth=2)
    scores = {"blocks.0.attention": [0.1, 0.2], "blocks.1.attention": [5.0, 6.0]}
    smaller, about = shrink_units(dense, TOKENS, _important(dense, scores, 20.0), 1 / 6, Counted.parameters, 1, [])
    assert about[0] == "removed 2 of 4 attention heads and 0 of 1,024 neurons and channels"
    assert [one.heads for one in attentions(smaller)] == [1, 1]


def test_neurons_make_up_for_a_head_that_would_be_too_much() -> None:
    """Of a block of 128, a head is a twelfth of the weights, and 2 of 512 neurons are two thirds of 1/512 of them."""
    dense = model_of(128)
    smaller, about = shrink_units(
        dense, TOKENS, _important(dense, {"blocks.0.attention": [1.0, 2.0]}, 10.0), 0.03, Counted.parameters, 1, []
    )
    # 3 % of 196,608 are 5898.24 weights: 23.04 neurons of 256.
    assert about[0] == "removed 0 of 2 attention heads and 23 of 512 neurons and channels"
    assert [one.heads for one in attentions(smaller)] == [2]


@pytest.mark.parametrize(("multiple", "heads"), [(1, 1), (64, 1), (128, 2), (48, 3)])
def test_the_width_of_the_heads_left_is_a_multiple(multiple: int, heads: int) -> None:
    dense = model_of(256)
    smaller, _ = shrink_units(
        dense,
        TOKENS,
        _important(dense, {"blocks.0.attention": [1.0, 2.0, 3.0, 4.0]}, 10.0),
        0.3,
        Counted.parameters,
        multiple,
        [],
    )
    (left,) = attentions(smaller)
    assert left.heads == heads
    assert left.heads * 64 % multiple == 0


def test_a_smaller_gpt_goes_on_from_its_cache() -> None:
    dense = model_of(192, depth=2)
    scores = {"blocks.0.attention": [3.0, 1.0, 2.0], "blocks.1.attention": [1.1, 9.0, 1.2]}
    smaller, _ = shrink_units(dense, TOKENS, _important(dense, scores, 2.5), 1 / 6, Counted.parameters, 1, [])
    assert sorted(one.heads for one in attentions(smaller)) == [1, 2]
    assert isinstance(smaller, Decoder)
    with torch.no_grad():
        whole = smaller(TOKENS)
    logits, cache = smaller.prefill(TOKENS[:, :4])
    torch.testing.assert_close(logits, whole[:, 3], rtol=1e-5, atol=1e-5)
    for end, after in pairwise(range(4, 11)):
        logits = smaller.decode(TOKENS[:, end:after], cache)
        torch.testing.assert_close(logits, whole[:, end], rtol=1e-5, atol=1e-5)
    assert [one.shape[2] for one in cache.kept] == [one.heads for one in attentions(smaller)]
