"""What every precision must do, and what each does to a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.choices.precisions import WeightType
from thrifty.config.registry import CHOICES, load
from thrifty.precisions.base import Precision

PRODUCTS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.float8_e4m3fn,
}
NAMES = sorted(CHOICES["precision"])


def _precision(name: str) -> Precision:
    return load("precision", name)(chosen(f"precision={name}"))


def _gpt() -> nn.Module:
    torch.manual_seed(0)
    return load("architecture", "gpt")(
        chosen("architecture=gpt", width=64, depth=2), {"vocabulary": 50, "context": 16}, 0.0
    ).eval()


@pytest.mark.parametrize("name", NAMES)
def test_it_bears_its_name_and_its_dtypes(name: str) -> None:
    precision = _precision(name)
    assert precision.name == name
    assert precision.matmul_dtype is PRODUCTS[name]
    assert precision.weight_dtype is torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_its_context_is_the_same_kind_every_time_and_leaves_nothing_behind(name: str) -> None:
    precision = _precision(name)
    first, second = precision.context("cpu"), precision.context("cpu")
    assert isinstance(first, AbstractContextManager)
    assert type(first) is type(second)
    for context in (first, second):
        with context:
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype is (torch.bfloat16 if name == "fp8" else PRODUCTS[name])
    assert not torch.is_autocast_enabled("cpu")
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_names_the_key_and_what_to_use_in_one_line(name: str) -> None:
    for device in ("cpu", "cuda", "mps"):
        reason = _precision(name).unsupported(device)
        if reason is not None:
            assert reason.startswith(f"precision={name}: ")
            assert "use precision=" in reason
            assert "\n" not in reason


def test_fp32_costs_nothing_to_enter() -> None:
    precision = _precision("fp32")
    assert precision.context("cpu") is precision.context("cpu")
    tokens = torch.arange(16)[None]
    model = _gpt()
    with precision.context("cpu"):
        inside = model(tokens)
    assert torch.equal(inside, model(tokens))


def test_which_devices_are_refused() -> None:
    assert _precision("fp32").unsupported("cpu") is None
    assert _precision("bf16").unsupported("cpu") is None
    assert _precision("fp16").unsupported("cpu") == (
        "precision=fp16: products are tens to hundreds of times slower than fp32 on CPUs without such arithmetic "
        "(`thrifty doctor` measures both); use precision=bf16"
    )
    assert _precision("fp16").unsupported("cuda") is None
    assert _precision("tf32").unsupported("cpu") == (
        "precision=tf32: a mode of NVIDIA GPUs, which device=cpu has not; use precision=fp32 or precision=bf16"
    )


@pytest.mark.parametrize(("capability", "old"), [((7, 5), True), ((8, 0), False), ((9, 0), False)])
def test_tf32_is_refused_on_gpus_that_are_older(
    capability: tuple[int, int], old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    reason = _precision("tf32").unsupported("cuda")
    assert reason == ("precision=tf32: Tesla T4 is older than TF32; use precision=fp32" if old else None)


@pytest.fixture(params=[(True, True), (False, True), (False, False)])
def before(request: pytest.FixtureRequest) -> Iterator[tuple[bool, bool]]:
    """Whether matrices and convolutions are in TF32 already. Set by hand: the attributes are no ordinary ones."""
    matrices, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matrices, convolutions


@pytest.mark.parametrize(("name", "tf32"), [("tf32", True), ("fp32", False)])
def test_products_of_32_bits_on_cuda_are_what_the_precision_says_and_only_within_it(
    name: str, tf32: bool, before: tuple[bool, bool]
) -> None:
    precision = _precision(name)
    for context in (precision.context("cuda"), precision.backward_context("cuda"), precision.context("cuda")):
        with context:
            assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
        assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tf32_rounds_and_fp32_does_not() -> None:
    if (reason := _precision("tf32").unsupported("cuda")) is not None:
        pytest.skip(reason)
    left, right = torch.rand(2, 256, 256, device="cuda")
    exact = left.double() @ right.double()
    for name, low, high in (("fp32", 0.0, 1e-6), ("tf32", 1e-5, 1e-3)):
        with _precision(name).context("cuda"):
            product = left @ right
        assert low <= ((product - exact).norm() / exact.norm()).item() < high


@pytest.mark.parametrize("native", [True, False])
def test_bf16_is_refused_on_gpus_that_would_emulate_it(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    reason = _precision("bf16").unsupported("cuda")
    assert reason == (None if native else "precision=bf16: Tesla T4 has no bfloat16 arithmetic; use precision=fp32")


@pytest.mark.parametrize("weights", [WeightType.fp32, WeightType.bf16])
def test_bf16_comes_close_to_fp32(weights: WeightType) -> None:
    precision = load("precision", "bf16")(chosen("precision=bf16", weights=weights))
    assert precision.weight_dtype is {"fp32": torch.float32, "bf16": torch.bfloat16}[weights.name]
    tokens = torch.randint(0, 50, (4, 16), generator=torch.Generator().manual_seed(0))
    exact = _gpt()(tokens)
    model = _gpt().to(precision.weight_dtype)
    with precision.context("cpu"):
        outputs = model(tokens)
    assert outputs.dtype is torch.bfloat16
    error = ((outputs.float() - exact).norm() / exact.norm()).item()
    assert 1e-5 < error < 2e-2  # 8 bits of mantissa are a relative 2^-9 a rounding; equal outputs would mean no autocast


@pytest.mark.parametrize("weights", [WeightType.fp32, WeightType.bf16])
def test_bf16_trains_with_gradients_in_the_dtype_of_the_weights(weights: WeightType) -> None:
    precision = load("precision", "bf16")(chosen("precision=bf16", weights=weights))
    model = _gpt().to(precision.weight_dtype)
    with precision.context("cpu"):
        outputs = model(torch.arange(16)[None])
        loss = nn.functional.cross_entropy(outputs.flatten(0, 1), torch.arange(16))
    assert loss.dtype is torch.float32
    loss.backward()
    assert {one.grad.dtype for one in model.parameters() if one.grad is not None} == {precision.weight_dtype}


def test_a_context_for_each_forward_pass_sees_the_weights_of_the_last_step() -> None:
    precision, model = _precision("bf16"), nn.Linear(8, 1)
    inputs = torch.ones(1, 8)
    with precision.context("cpu"):
        before = model(inputs)
    before.sum().backward()
    with torch.no_grad():
        model.weight.sub_(torch.ones_like(model.weight))
    with precision.context("cpu"):
        after = model(inputs)
    assert (before - after).item() == pytest.approx(8.0, rel=0.02)
