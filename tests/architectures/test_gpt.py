"""GPT-2 as published: parameter counts, initial weights, and every product of the forward pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chosen import chosen
from thrifty.architectures import gpt


def _model(width: int = 128, depth: int = 2, vocabulary: int = 40, context: int = 12) -> nn.Module:
    return gpt.build(chosen("architecture=gpt", width=width, depth=depth), {"vocabulary": vocabulary, "context": context}, 0.0)


@pytest.mark.parametrize(
    ("width", "depth", "parameters"),
    [(768, 12, 124_439_808), (1024, 24, 354_823_168), (1280, 36, 774_030_080), (1600, 48, 1_557_611_200)],
)
def test_it_has_as_many_parameters_as_published(width: int, depth: int, parameters: int) -> None:
    with torch.device("meta"):
        model = _model(width, depth, vocabulary=50257, context=1024)
    assert sum(one.numel() for one in model.parameters()) == parameters


def _by_hand(model: nn.Module, tokens: Tensor, width: int, depth: int) -> Tensor:
    """GPT-2 written out for one sequence, every head and row by itself."""
    weights = dict(model.state_dict())

    def norm(values: Tensor, name: str) -> Tensor:
        centred = values - values.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(values: Tensor, name: str) -> Tensor:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def gelu(values: Tensor) -> Tensor:
        return 0.5 * values * (1 + torch.tanh(math.sqrt(2 / math.pi) * (values + 0.044715 * values**3)))

    time = len(tokens)
    stream = weights["tokens.weight"][tokens] + weights["positions.weight"][:time]
    for number in range(depth):
        block = f"blocks.{number}"
        query, key, value = linear(norm(stream, f"{block}.attention_norm"), f"{block}.attention.qkv").split(width, dim=-1)
        mixed = torch.zeros_like(stream)
        for head in range(width // 64):
            own = slice(64 * head, 64 * head + 64)
            for row in range(time):
                scores = query[row, own] @ key[: row + 1, own].T / math.sqrt(64)
                mixed[row, own] = torch.softmax(scores, 0) @ value[: row + 1, own]
        stream = stream + linear(mixed, f"{block}.attention.projection")
        inner = gelu(linear(norm(stream, f"{block}.feed_forward_norm"), f"{block}.feed_forward.expansion"))
        stream = stream + linear(inner, f"{block}.feed_forward.projection")
    return norm(stream, "norm") @ weights["tokens.weight"].T


def test_the_forward_pass_is_gpt_2_written_out() -> None:
    torch.manual_seed(0)
    model = _model().double()
    for one in model.parameters():  # initial biases are 0 and scales 1: make each of them tell
        one.data.add_(torch.randn_like(one) * 0.1)
    tokens = torch.randint(0, 40, (2, 12))
    outputs = model(tokens)
    for row in range(2):
        torch.testing.assert_close(outputs[row], _by_hand(model, tokens[row], width=128, depth=2))


def test_no_position_sees_a_later_one() -> None:
    torch.manual_seed(0)
    model = _model().eval()
    tokens = torch.randint(0, 40, (1, 12))
    changed = tokens.clone()
    changed[0, 7] = (tokens[0, 7] + 1) % 40
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(-1).min() > 1e-6


def test_it_takes_as_many_tokens_as_its_context_and_no_more() -> None:
    model = _model()
    assert model(torch.zeros(1, 1, dtype=torch.int64)).shape == (1, 1, 40)
    assert model(torch.zeros(1, 12, dtype=torch.int64)).shape == (1, 12, 40)
    with pytest.raises(ValueError, match="13 tokens: the context holds 12"):
        model(torch.zeros(1, 13, dtype=torch.int64))


def test_initial_weights_are_gpt_2s() -> None:
    torch.manual_seed(0)
    model = _model(width=256, depth=8, vocabulary=256, context=128)
    for name, one in model.named_parameters():
        if one.ndim >= 2:
            expected = 0.02 / math.sqrt(16) if "projection" in name else 0.02
            assert one.std().item() == pytest.approx(expected, rel=0.02), name
            assert abs(one.mean().item()) < 5 * expected / math.sqrt(one.numel()), name
        else:
            assert torch.all(one == (1 if "norm.weight" in name else 0)), name


def test_an_untrained_model_knows_nothing() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(0, 40, (8, 13))
    outputs = _model()(tokens[:, :-1])
    loss = F.cross_entropy(outputs.flatten(0, 1), tokens[:, 1:].flatten()).item()
    assert loss == pytest.approx(math.log(40), abs=0.15)
