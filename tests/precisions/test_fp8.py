"""precision=fp8, its rounding emulated where there is no GPU that has it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import load
from thrifty.precisions.fp8 import Fp8, converted_layers


def gpt() -> nn.Module:
    torch.manual_seed(0)
    model = load("architecture", "gpt")(chosen("architecture=gpt", width=64, depth=2), {"vocabulary": 50, "context": 16}, 0.0)
    for one in model.parameters():  # small beside the stream, so that the roundings of eight layers do not add up
        if one.ndim >= 2:
            nn.init.normal_(one, std=0.02)
    return model


def mlp(widths: list[int], inputs: int, outputs: int) -> nn.Module:
    shape = {"inputs": inputs, "outputs": outputs}
    return load("architecture", "mlp")(chosen("architecture=mlp", widths=widths), shape, 0.0)


def test_linear_layers_whose_sides_fit_are_converted_and_the_last_is_not() -> None:
    assert list(converted_layers(mlp([32, 48, 40, 64], 16, 16))) == ["hidden1", "hidden2"]
    assert len(converted_layers(gpt())) == 2 * 4, "queries, keys and values; projection; two of the perceptron"


def test_a_model_without_such_layers_is_unsuited_and_says_what_to_do() -> None:
    reason = Fp8().unsuited(mlp([20], 10, 3))
    assert reason is not None
    assert reason.startswith("precision=fp8: none of the model's layers")
    assert reason.endswith("use precision=bf16")
    assert Fp8().unsuited(gpt()) is None
    assert Fp8().about(gpt()) == "precision=fp8: 8 of 8 layers compute in 8 bits, the others in bfloat16"


def test_outputs_and_gradients_are_those_of_fp32_within_its_rounding() -> None:
    tokens = torch.randint(0, 50, (3, 16), generator=torch.Generator().manual_seed(0))
    exact, rounded = gpt(), Fp8(emulate=True).prepared(gpt(), "cpu")
    for model in (exact, rounded):
        nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
    error = ((rounded(tokens) - exact(tokens)).norm() / exact(tokens).norm()).item()
    assert 1e-4 < error < 2**-4, "3 bits of mantissa: a relative 2^-4 a rounding at most; equal ones would mean none was"
    for (name, ours), theirs in zip(rounded.named_parameters(), exact.parameters(), strict=True):
        assert ours.grad is not None, name
        assert theirs.grad is not None, name
        off = ((ours.grad - theirs.grad).norm() / theirs.grad.norm()).item()
        assert off < 2**-2, f"{name}: gradients have 2 bits of mantissa"


def test_weights_keep_their_names_and_their_32_bits() -> None:
    before = {name: one.clone() for name, one in gpt().state_dict().items()}
    after = Fp8(emulate=True).prepared(gpt(), "cpu").state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(one, after[name]) for name, one in before.items())


def test_any_number_of_examples_will_do() -> None:
    model = Fp8(emulate=True).prepared(mlp([32], 16, 3), "cpu")
    for examples in (1, 7, 33):
        model(torch.randn(examples, 16)).sum().backward()


def test_where_the_device_cannot_nothing_is_exchanged() -> None:
    model = gpt()
    layers = [type(one) for one in model.modules()]
    assert [type(one) for one in Fp8().prepared(model, "cpu").modules()] == layers


@pytest.mark.parametrize(("capability", "says"), [((8, 0), "NVIDIA A100 is older than 8-bit floating point"), ((8, 9), None)])
def test_which_gpus_are_refused(capability: tuple[int, int], says: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100")
    reason = Fp8().unsupported("cuda")
    assert (reason is None) == (says is None)
    assert says is None or says in str(reason)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_comes_as_close_as_emulated() -> None:
    precision = Fp8()
    if (reason := precision.unsupported("cuda")) is not None:
        pytest.skip(reason)
    tokens = torch.randint(0, 50, (4, 16), device="cuda")
    exact, model = gpt().cuda(), precision.prepared(gpt(), "cuda").cuda()
    with precision.context("cuda"):
        outputs = model(tokens).float()
    outputs.sum().backward()
    assert ((outputs - exact(tokens)).norm() / exact(tokens).norm()).item() < 2**-3
