"""What every engine must do: say why it cannot run, and predict what PyTorch itself predicts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import CHOICES, load
from thrifty.engines.base import Engine
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import build_model, example_inputs
from thrifty.precisions.base import Precision

NAMES = sorted(CHOICES["engine"])
CPU = torch.device("cpu")
MODELS = {
    "gpt": (chosen("architecture=gpt", width=64, depth=1, context=16), {"vocabulary": 32, "context": 16}),
    "mlp": (chosen("architecture=mlp", widths=[16, 8]), {"inputs": 6, "outputs": 2}),
    "vit": (chosen("architecture=vit", width=64, depth=1), {"channels": 2, "height": 5, "width": 8, "outputs": 3}),
    "resnet": (chosen("architecture=resnet", depth=8), {"channels": 2, "height": 5, "width": 8, "outputs": 3}),
}
LARGEST_ERROR = {"fp32": 1e-5, "bf16": 2e-2}
"""Of outputs about 1 in size: sums in another order, and with 8 bits of mantissa roundings that are left out."""


def engine(name: str) -> Engine:
    return load("engine", name)(chosen(f"engine={name}"))


def precision(name: str) -> Precision:
    return load("precision", name)(chosen(f"precision={name}"))


def usable(name: str) -> Engine:
    one = engine(name)
    reason = one.unsupported("cpu")
    if reason is not None:
        pytest.skip(reason)
    return one


def model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(*MODELS[name], 0.0)


@pytest.fixture(autouse=True)
def thread() -> Iterator[None]:
    """One, as compiled code is made for a number of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_it_bears_its_name(name: str) -> None:
    assert engine(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_is_a_line_that_names_it_and_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/there/is/no/such/compiler")
    for device in ("cpu", "cuda", "mps"):
        reason = engine(name).unsupported(device)
        if reason is not None:
            assert reason.startswith(f"engine={name}: ")
            assert "engine=eager" in reason
            assert "\n" not in reason


@pytest.mark.parametrize("name", NAMES)
def test_naming_it_imports_no_torch(name: str) -> None:
    program = (
        "import sys; from thrifty.config.registry import CHOICES; from thrifty.config.choice import choice_of\n"
        f"CHOICES['engine'][{name!r}].load()\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def _pairs() -> Iterator[Any]:
    """An engine and a model; of images, what compiles takes ten seconds each."""
    for name in NAMES:
        for of, (_, shape) in sorted(MODELS.items()):
            long = engine(name).compiles and "channels" in shape
            yield pytest.param(name, of, marks=[pytest.mark.slow] if long else [])


@pytest.mark.parametrize("dtype", sorted(LARGEST_ERROR))
@pytest.mark.parametrize(("name", "of"), list(_pairs()))
def test_it_agrees_with_pytorch_under_each_precision(name: str, of: str, dtype: str) -> None:
    module, context, inputs = model(of), precision(dtype), example_inputs(*MODELS[of], 2)
    expected = predictor(module, context, CPU)(inputs)
    found = predictor(module.train(), context, CPU, usable(name), inputs)(inputs)
    assert found.dtype is torch.float32
    assert not module.training
    assert not found.requires_grad
    assert (found - expected).abs().max() <= LARGEST_ERROR[dtype]
    if dtype == "bf16":
        exact = predictor(module, precision("fp32"), CPU)(inputs)
        assert not torch.equal(found, exact), "it ran in the precision it was prepared in"
