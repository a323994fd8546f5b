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


def test_initial_weights_keep_the_size_of_what_comes_in() -> None:
    torch.manual_seed(0)
    model = _model(width=256, depth=8, vocabulary=256, context=128)
    for name, one in model.named_parameters():
        if one.ndim >= 2:
            expected = one.shape[1] ** -0.5 / (math.sqrt(16) if "projection" in name else 1)
            assert one.std().item() == pytest.approx(expected, rel=0.02), name
            assert abs(one.mean().item()) < 5 * expected / math.sqrt(one.numel()), name
        else:
            assert torch.all(one == (1 if "norm.weight" in name else 0)), name


def test_an_untrained_model_knows_nothing() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(0, 40, (64, 13))
    outputs = _model()(tokens[:, :-1])
    assert outputs.std().item() == pytest.approx(1, abs=0.15)
    loss = F.cross_entropy(outputs.flatten(0, 1), tokens[:, 1:].flatten()).item()
    # With outputs of N(0, 1) that know nothing: the mean of log(sum of exp) is log 40 + 1/2, less a little for only 40 of them.
    assert loss == pytest.approx(math.log(40) + 0.5, abs=0.15)


# -- token by token -----------------------------------------------------------------------------------------------------


def _sharpened() -> gpt.GptModel:
    """Weights large enough that attention picks and a wrong position, key or mask shows in the logits."""
    torch.manual_seed(0)
    model = _model()
    assert isinstance(model, gpt.GptModel)
    for one in model.parameters():
        one.data.add_(torch.randn_like(one) * 0.1)
    return model.eval()


@pytest.mark.parametrize("prompt", [1, 5, 12])
def test_prefill_and_decode_are_the_full_forward_at_every_position(prompt: int) -> None:
    model = _sharpened()
    tokens = torch.randint(0, 40, (3, 12))
    whole = model(tokens)
    logits, cache = model.prefill(tokens[:, :prompt])
    torch.testing.assert_close(logits, whole[:, prompt - 1], rtol=1e-5, atol=1e-5)
    for position in range(prompt, 12):
        assert cache.length == position
        logits = model.decode(tokens[:, position : position + 1], cache)
        torch.testing.assert_close(logits, whole[:, position], rtol=1e-5, atol=1e-5)
    assert cache.length == 12


def test_a_cache_set_back_goes_on_as_if_the_rest_had_not_been() -> None:
    model = _sharpened()
    tokens = torch.randint(0, 40, (1, 12))
    _, cache = model.prefill(torch.cat([tokens[:, :4], (tokens[:, 4:] + 1) % 40], 1))
    cache.length = 4
    torch.testing.assert_close(model.decode(tokens[:, 4:5], cache), model(tokens[:, :5])[:, -1], rtol=1e-5, atol=1e-5)


def test_two_caches_of_a_model_are_apart_and_nothing_of_them_is_a_weight() -> None:
    model = _sharpened()
    names = list(model.state_dict())
    tokens = torch.randint(0, 40, (2, 6))
    _, first = model.prefill(tokens[:1, :5])
    model.prefill(tokens[1:, :5])
    torch.testing.assert_close(model.decode(tokens[:1, 5:], first), model(tokens[:1])[:, -1], rtol=1e-5, atol=1e-5)
    assert list(model.state_dict()) == names


def test_a_cache_is_of_the_type_the_precision_computes_in_and_of_the_whole_context_from_the_start() -> None:
    model = _sharpened()
    tokens = torch.randint(0, 40, (1, 7))
    with torch.autocast("cpu", torch.bfloat16):
        _, cache = model.prefill(tokens[:, :6])
        addresses = [one.data_ptr() for one in cache.kept]
        logits, whole = model.decode(tokens[:, 6:], cache), model(tokens)[:, -1]
    assert {(one.shape, one.dtype) for one in cache.kept} == {((2, 1, 2, 12, 64), torch.bfloat16)}
    assert [one.data_ptr() for one in cache.kept] == addresses
    torch.testing.assert_close(logits, whole, rtol=0.05, atol=0.05 * whole.abs().max().item())


def test_token_by_token_nothing_is_dropped_or_differentiated() -> None:
    torch.manual_seed(0)
    config = chosen("architecture=gpt", width=64, depth=1)
    model = gpt.build(config, {"vocabulary": 40, "context": 12}, 0.5).train()
    assert isinstance(model, gpt.GptModel)
    tokens = torch.randint(0, 40, (1, 4))
    prompt, cache = model.prefill(tokens[:, :3])
    logits = model.decode(tokens[:, 3:], cache)
    whole = model.eval()(tokens)
    torch.testing.assert_close(prompt, whole[:, 2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits, whole[:, 3], rtol=1e-5, atol=1e-5)
    assert not prompt.requires_grad
    assert not logits.requires_grad


def test_a_full_context_and_tokens_that_do_not_fit_the_cache_are_refused() -> None:
    model = _sharpened()
    token = torch.zeros(1, 1, dtype=torch.int64)
    _, cache = model.prefill(token.expand(1, 11))
    for tokens in (token.expand(1, 2), token.expand(2, 1)):
        with pytest.raises(ValueError, match=r"the cache takes \(1, 1\)"):
            model.decode(tokens, cache)
    model.decode(token, cache)
    with pytest.raises(ValueError, match="the context is full: it holds 12 tokens"):
        model.decode(token, cache)
    assert cache.length == 12
    for length in (0, 13):
        with pytest.raises(ValueError, match=f"{length} tokens: .* the context holds 12"):
            model.prefill(token.expand(1, length))
