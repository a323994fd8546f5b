"""What every pruner of units must do to every architecture."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chosen import chosen
from thrifty.architectures.resnet import PLANS
from thrifty.architectures.shapes_only import shapes_only
from thrifty.config.registry import load
from thrifty.layers.calibration import Calibration
from thrifty.measure.flops import forward_flops
from thrifty.pruners.base import UnitPruner
from thrifty.pruners.form import form_of, given_form

IMAGES = {"channels": 2, "height": 8, "width": 8, "outputs": 3}
MODELS: dict[str, tuple[Any, dict[str, int]]] = {
    "mlp": (chosen("architecture=mlp", widths=[48, 32]), IMAGES),
    "resnet8": (chosen("architecture=resnet", depth=8), IMAGES),
    "resnet18": (chosen("architecture=resnet", depth=18), IMAGES),
    "vit": (chosen("architecture=vit", width=128, depth=2), IMAGES),
    "gpt": (chosen("architecture=gpt", width=128, depth=2, context=12), {"vocabulary": 30, "context": 12}),
}
PRUNERS = ("structured_l1", "structured_taylor")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small gain nothing from a second thread, and on busy cores the threads wait for each other ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def a_narrow_resnet18(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter as wide as published: the same blocks and shortcuts in a sixteenth of the time."""
    monkeypatch.setitem(PLANS, 18, dataclasses.replace(PLANS[18], width=16))


def built(name: str) -> nn.Module:
    """In 64 bits, where no two weights are the same by chance; norms as trained ones, which scale and shift each channel."""
    config, shape = MODELS[name]
    torch.manual_seed(0)
    model = load("architecture", config.name)(config, shape, 0.0).double()
    for one in model.parameters():
        one.data += 1e-6 * torch.randn_like(one)  # in the bits that the 32 of the first weights leave free
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for one in (module.weight, module.running_var):
                assert one is not None
                one.data.uniform_(0.5, 1.5)
            for one in (module.bias, module.running_mean):
                assert one is not None
                one.data.uniform_(-0.3, 0.3)
    return model.eval()


def inputs_for(name: str, batch: int = 4) -> Tensor:
    config, shape = MODELS[name]
    inputs = load("architecture", config.name, "example_inputs")(config, shape, batch)
    return inputs.double() if inputs.is_floating_point() else inputs


def calibration_for(name: str) -> Calibration:
    inputs = inputs_for(name, 8)
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(3, inputs.shape if name == "gpt" else (8,), generator=generator)
    batches = [(inputs[:6], targets[:6]), (inputs[6:], targets[6:])]
    return Calibration(
        batches, lambda outputs, goals: F.cross_entropy(outputs.flatten(0, -2), goals.flatten()), lambda m, x: m(x)
    )


def shrunk(name: str, pruner: str, sparsity: float, **changes: Any) -> tuple[nn.Module, nn.Module, UnitPruner]:
    """The dense model, the smaller one, and the pruner that made it."""
    model = built(name)
    made = load("pruner", pruner)(chosen(f"pruner={pruner}", **changes))
    return model, made.shrink(model, sparsity, inputs_for(name), calibration_for(name)), made


def weighted(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    return {name: one for name, one in model.named_modules() if isinstance(one, (nn.Linear, nn.Conv2d))}


def zeroed(dense: nn.Module, smaller: nn.Module) -> nn.Module:
    """The dense model where nothing reads what the smaller one lacks: found by looking for each of its weights."""
    masked = copy.deepcopy(dense)
    for name, layer in weighted(masked).items():
        other = weighted(smaller)[name]
        there = torch.isin(layer.weight, other.weight)
        assert there.sum() == other.weight.numel(), f"{name} holds weights that are not the dense model's"
        read = there.transpose(0, 1).flatten(1).any(1)
        assert read.sum() == other.weight.shape[1]
        layer.weight.data[:, ~read] = 0
    return masked


@pytest.mark.parametrize("counts", ["parameters", "flops"])
@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("name", MODELS)
def test_it_computes_what_the_dense_one_does_without_the_units(name: str, pruner: str, counts: str) -> None:
    dense, smaller, _ = shrunk(name, pruner, 0.5, counts=counts)
    inputs = inputs_for(name)
    assert sum(one.numel() for one in smaller.parameters()) < sum(one.numel() for one in dense.parameters())
    with torch.no_grad():
        expected, full = zeroed(dense, smaller)(inputs), dense(inputs)
        torch.testing.assert_close(smaller(inputs), expected, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(expected, full, atol=1e-3), "the units removed did nothing, so that the test says nothing"


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("name", MODELS)
def test_the_dense_model_stays_as_it_was(name: str, pruner: str) -> None:
    model = built(name).train()
    for one in list(model.parameters())[:2]:
        one.requires_grad_(False)
    before = copy.deepcopy(model)
    smaller = load("pruner", pruner)(chosen(f"pruner={pruner}")).shrink(model, 0.3, inputs_for(name), calibration_for(name))
    for (key, one), (_, other) in zip(model.state_dict().items(), before.state_dict().items(), strict=True):
        assert torch.equal(one, other), key
    assert all(one.grad is None for one in (*model.parameters(), *smaller.parameters()))
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in smaller.modules())
    for key, one in model.named_parameters():
        assert one.requires_grad == before.get_parameter(key).requires_grad == smaller.get_parameter(key).requires_grad
    assert not any(module._forward_hooks for module in (*model.modules(), *smaller.modules()))


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # Half of the dearest neuron's or channel's share: of 32, in the widest group; for resnet8, a channel of the first stage.
    [("mlp", 0.02), ("resnet8", 0.02), ("resnet18", 0.004), ("vit", 0.001), ("gpt", 0.001)],
)
@pytest.mark.parametrize("sparsity", [0.25, 0.6])
def test_the_share_is_as_near_as_whole_units_allow(name: str, sparsity: float, tolerance: float) -> None:
    outputs = ("output", "head")
    for counts in ("parameters", "flops"):
        dense, smaller, pruner = shrunk(name, "structured_l1", sparsity, counts=counts)
        if counts == "flops":
            inputs = inputs_for(name).float() if name != "gpt" else inputs_for(name)
            left, whole = (forward_flops(lambda one=one: copy.deepcopy(one).float(), inputs) for one in (smaller, dense))
        else:
            left, whole = (
                sum(layer.weight.numel() for key, layer in weighted(one).items() if key not in outputs)
                for one in (smaller, dense)
            )
        assert abs(1 - left / whole - sparsity) <= tolerance, counts
        assert f"{100 * (1 - left / whole):.2f} %" in pruner.about[1]


@pytest.mark.parametrize("name", MODELS)
def test_it_can_be_trained(name: str) -> None:
    _, smaller, _ = shrunk(name, "structured_l1", 0.5)
    ((inputs, targets), *_) = calibration_for(name).batches
    calibration_for(name).loss(smaller.train()(inputs), targets).backward()
    gradients = {key: one.grad for key, one in smaller.named_parameters()}
    assert all(one is not None and one.isfinite().all() for one in gradients.values())
    assert any(one is not None and one.abs().sum() > 0 for one in gradients.values())


@pytest.mark.parametrize(
    ("name", "pruner"),
    [*((name, "structured_l1") for name in MODELS), *((name, "layer_drop") for name in MODELS if name != "mlp")],
)
def test_it_loads_again_by_its_form(name: str, pruner: str) -> None:
    _, smaller, _ = shrunk(name, pruner, 1.0 if (name, pruner) == ("resnet8", "layer_drop") else 0.5)
    config, shape = MODELS[name]
    with shapes_only():
        again = load("architecture", config.name)(config, shape, 0.0)
    given_form(again, json.loads(json.dumps(form_of(smaller))))
    again.load_state_dict(smaller.state_dict(), assign=True)
    assert form_of(again) == form_of(smaller)
    inputs = inputs_for(name)
    with torch.no_grad():
        assert torch.equal(again.eval()(inputs), smaller(inputs))


@pytest.mark.parametrize("name", MODELS)
def test_it_shrinks_again(name: str) -> None:
    """A smaller model is a model like any other."""
    _, smaller, pruner = shrunk(name, "structured_l1", 0.3)
    smallest = pruner.shrink(smaller, 0.3, inputs_for(name))
    inputs = inputs_for(name)
    with torch.no_grad():
        torch.testing.assert_close(smallest(inputs), zeroed(smaller, smallest)(inputs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["resnet8", "vit"])
def test_the_type_of_the_weights_stays(name: str, dtype: torch.dtype) -> None:
    model = built(name).to(dtype)
    pruner = load("pruner", "structured_l1")(chosen("pruner=structured_l1"))
    smaller = pruner.shrink(model, 0.5, inputs_for(name).float())
    assert {one.dtype for one in smaller.parameters()} == {dtype}
    for key, one in smaller.state_dict().items():
        assert torch.isin(one, model.state_dict()[key]).all(), f"{key} was rounded"
