"""What every optimizer must do, and the steps of each against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chosen import chosen
from thrifty.config.registry import CHOICES, load
from thrifty.optimizers.muon import MuonInItsOwnType, bf16_products_are_slow, orthogonalised

NAMES = sorted(CHOICES["optimizer"])


def _optimizer(config: Any, model: nn.Module) -> torch.optim.Optimizer:
    return load("optimizer", config.name)(config, model)


def _default(name: str, lr: float) -> Any:
    return chosen(f"optimizer={name}", lr=lr)


def _one_linear(weight: list[float], bias: list[float]) -> nn.Linear:
    model = nn.Linear(len(weight), len(bias), dtype=torch.float64)
    model.weight.data = torch.tensor([weight], dtype=torch.float64)
    model.bias.data = torch.tensor(bias, dtype=torch.float64)
    return model


def _give(model: nn.Linear, weight: list[float], bias: list[float]) -> None:
    model.weight.grad = torch.tensor([weight], dtype=torch.float64)
    model.bias.grad = torch.tensor(bias, dtype=torch.float64)


# -- contract -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_it_learns_in_every_dtype_of_weights(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 1).to(dtype)
    # Adagrad's steps shrink with the root of their number: a hundred of them go no farther than twenty. Muon's are a fifth of lr.
    optimizer = _optimizer(_default(name, {"adagrad": 0.5, "muon": 0.2}.get(name, 0.05)), model)
    inputs = torch.randn(32, 4, dtype=dtype)
    targets = inputs.sum(1, keepdim=True)
    losses = []
    for _ in range(100):
        loss = (model(inputs) - targets).pow(2).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 10


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_stay_and_every_other_is_held_once(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model[1].weight.requires_grad_(False)
    frozen = model[1].weight.clone()
    optimizer = _optimizer(_default(name, 0.1), model)
    held = [id(one) for group in optimizer.param_groups for one in group["params"]]
    assert sorted(held) == sorted(id(one) for one in model.parameters() if one.requires_grad)
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    assert torch.equal(model[1].weight, frozen)


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_can_move_its_learning_rate(name: str) -> None:
    model = _one_linear([1.0, 2.0], [3.0])
    optimizer = _optimizer(_default(name, 0.5), model)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    _give(model, [1.0, 1.0], [1.0])
    optimizer.step()
    assert model.weight.tolist() == [[1.0, 2.0]]
    assert model.bias.tolist() == [3.0]


@pytest.mark.parametrize("name", NAMES)
def test_its_state_can_be_saved_and_taken_up(name: str) -> None:
    def steps(model: nn.Linear, optimizer: torch.optim.Optimizer, gradients: list[float]) -> None:
        for gradient in gradients:
            _give(model, [gradient, -gradient], [gradient])
            optimizer.step()

    through = _one_linear([1.0, 2.0], [3.0])
    steps(through, _optimizer(_default(name, 0.1), through), [1.0, 0.5, 2.0])

    first = _one_linear([1.0, 2.0], [3.0])
    early = _optimizer(_default(name, 0.1), first)
    steps(first, early, [1.0, 0.5])
    second = _one_linear(first.weight.tolist()[0], first.bias.tolist())
    late = _optimizer(_default(name, 0.1), second)
    late.load_state_dict(early.state_dict())
    steps(second, late, [2.0])
    assert torch.equal(second.weight, through.weight)
    assert torch.equal(second.bias, through.bias)


# -- by hand ------------------------------------------------------------------------------------------------------------


def test_adam_takes_its_two_first_steps_as_in_the_paper() -> None:
    model = _one_linear([1.0, 2.0], [3.0])
    optimizer = _optimizer(chosen("optimizer=adam", lr=0.1, betas=[0.9, 0.99], eps=1e-3), model)
    first, second = np.array([4.0, -0.002, 0.5]), np.array([-1.0, 0.004, 0.5])
    _give(model, first[:2].tolist(), first[2:].tolist())
    optimizer.step()
    # After one step the corrected moments are g and g^2, whatever the betas.
    expected = np.array([1.0, 2.0, 3.0]) - 0.1 * first / (np.abs(first) + 1e-3)
    assert [*model.weight.tolist()[0], *model.bias.tolist()] == pytest.approx(expected, rel=1e-12)
    assert model.weight[0, 0].item() == pytest.approx(0.9, abs=1e-4)  # large gradients move by lr, whatever their size

    _give(model, second[:2].tolist(), second[2:].tolist())
    optimizer.step()
    mean = (0.9 * 0.1 * first + 0.1 * second) / (1 - 0.9**2)
    square = (0.99 * 0.01 * first**2 + 0.01 * second**2) / (1 - 0.99**2)
    expected = expected - 0.1 * mean / (np.sqrt(square) + 1e-3)
    assert [*model.weight.tolist()[0], *model.bias.tolist()] == pytest.approx(expected, rel=1e-12)


def test_adamw_takes_decay_off_matrices_apart_from_the_gradient() -> None:
    model = _one_linear([1.0, 2.0], [3.0])
    optimizer = _optimizer(chosen("optimizer=adamw", lr=0.1, weight_decay=0.5, eps=1e-12), model)
    _give(model, [4.0, -4.0], [4.0])
    optimizer.step()
    assert model.weight.tolist()[0] == pytest.approx([1.0 * (1 - 0.1 * 0.5) - 0.1, 2.0 * (1 - 0.1 * 0.5) + 0.1])
    assert model.bias.tolist() == pytest.approx([3.0 - 0.1])


def test_adamw_decays_embeddings_and_linear_weights_and_spares_norms_and_biases() -> None:
    model = load("architecture", "gpt")(chosen("architecture=gpt", width=64, depth=1), {"vocabulary": 7, "context": 5}, 0.0)
    optimizer = _optimizer(chosen("optimizer=adamw", lr=0.1, weight_decay=0.3), model)
    decay = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    for name, one in model.named_parameters():
        assert decay[id(one)] == (0.0 if "norm" in name or name.endswith("bias") else 0.3), name


def test_sgd_takes_two_steps_with_momentum() -> None:
    model = _one_linear([1.0, 2.0], [3.0])
    optimizer = _optimizer(chosen("optimizer=sgd", lr=0.1, momentum=0.9), model)
    _give(model, [1.0, -2.0], [0.5])
    optimizer.step()
    assert [*model.weight.tolist()[0], *model.bias.tolist()] == pytest.approx([0.9, 2.2, 2.95])
    _give(model, [3.0, 1.0], [0.0])
    optimizer.step()
    # velocity: 0.9 * (1, -2, 0.5) + (3, 1, 0) = (3.9, -0.8, 0.45)
    assert [*model.weight.tolist()[0], *model.bias.tolist()] == pytest.approx([0.51, 2.28, 2.905])


def test_one_step_of_gradient_descent_is_the_formula() -> None:
    """y = f(XW + b); dL/dW by the chain rule; mean over the m samples; W <- W - alpha dL/dW; all of it in numpy."""
    generator = np.random.default_rng(0)
    samples, alpha = 5, 0.3
    x, target = generator.normal(size=(samples, 3)), generator.normal(size=(samples, 2))
    w1, b1 = generator.normal(size=(3, 4)), generator.normal(size=4)
    w2, b2 = generator.normal(size=(4, 2)), generator.normal(size=2)

    model = load("architecture", "mlp")(chosen("architecture=mlp", widths=[4]), {"inputs": 3, "outputs": 2}, 0.0).double()
    given = {"hidden1.weight": w1.T, "hidden1.bias": b1, "output.weight": w2.T, "output.bias": b2}
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in given.items()})
    optimizer = _optimizer(chosen("optimizer=sgd", lr=alpha), model)
    loss = (model(torch.from_numpy(x)) - torch.from_numpy(target)).pow(2).sum(1).mean()
    loss.backward()
    optimizer.step()

    before = x @ w1 + b1
    hidden = np.maximum(before, 0)
    y = hidden @ w2 + b2
    assert loss.item() == pytest.approx(sum(((y[i] - target[i]) ** 2).sum() for i in range(samples)) / samples)
    steps = {name: np.zeros_like(value) for name, value in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2))}
    for i in range(samples):  # one sample after the other: the mean is over samples, not over outputs
        dl_dy = 2 * (y[i] - target[i])
        dl_dbefore = (w2 @ dl_dy) * (before[i] > 0)
        steps["w2"] += np.outer(hidden[i], dl_dy) / samples
        steps["b2"] += dl_dy / samples
        steps["w1"] += np.outer(x[i], dl_dbefore) / samples
        steps["b1"] += dl_dbefore / samples
    assert (before > 0).any()
    assert (before < 0).any()
    after = {name: value.numpy() for name, value in model.state_dict().items()}
    np.testing.assert_allclose(after["hidden1.weight"], (w1 - alpha * steps["w1"]).T, rtol=1e-12)
    np.testing.assert_allclose(after["hidden1.bias"], b1 - alpha * steps["b1"], rtol=1e-12)
    np.testing.assert_allclose(after["output.weight"], (w2 - alpha * steps["w2"]).T, rtol=1e-12)
    np.testing.assert_allclose(after["output.bias"], b2 - alpha * steps["b2"], rtol=1e-12)


def test_momentum_and_nesterov_take_two_steps() -> None:
    """After the second gradient the velocity is 0.9 * (1, -2, 0.5) + (3, 1, 0) = (3.9, -0.8, 0.45)."""
    start, first, second = np.array([1.0, 2.0, 3.0]), np.array([1.0, -2.0, 0.5]), np.array([3.0, 1.0, 0.0])
    velocity = 0.9 * first + second
    expected = {
        "momentum": start - 0.1 * first - 0.1 * velocity,
        # Nesterov's first velocity is the gradient too; each step goes on by 0.9 of the velocity.
        "nesterov": start - 0.1 * 1.9 * first - 0.1 * (second + 0.9 * velocity),
    }
    for name, end in expected.items():
        model = _one_linear([1.0, 2.0], [3.0])
        optimizer = _optimizer(chosen(f"optimizer={name}", lr=0.1, momentum=0.9), model)
        for gradient in (first, second):
            _give(model, gradient[:2].tolist(), gradient[2:].tolist())
            optimizer.step()
        assert [*model.weight.tolist()[0], *model.bias.tolist()] == pytest.approx(end), name


def test_adagrad_and_rmsprop_divide_by_the_root_of_squares() -> None:
    start, first, second = np.array([1.0, 2.0, 3.0]), np.array([4.0, -0.5, 0.25]), np.array([-1.0, 2.0, 0.25])
    summed = start - 0.1 * first / (np.abs(first) + 1e-10) - 0.1 * second / (np.sqrt(first**2 + second**2) + 1e-10)
    mean = 0.2 * first**2
    later = 0.8 * mean + 0.2 * second**2
    running = start - 0.1 * first / (np.sqrt(mean) + 1e-3) - 0.1 * second / (np.sqrt(later) + 1e-3)
    for config, end in (
        (chosen("optimizer=adagrad", lr=0.1), summed),
        (chosen("optimizer=rmsprop", lr=0.1, decay=0.8, eps=1e-3), running),
    ):
        model = _one_linear([1.0, 2.0], [3.0])
        optimizer = _optimizer(config, model)
        for gradient in (first, second):
            _give(model, gradient[:2].tolist(), gradient[2:].tolist())
            optimizer.step()
        assert [*model.weight.tolist()[0], *model.bias.tolist()] == pytest.approx(end), config.name


def test_lion_steps_by_the_sign_of_its_mean() -> None:
    model = _one_linear([1.0, 2.0], [3.0])
    optimizer = _optimizer(chosen("optimizer=lion", lr=0.1, betas=[0.5, 0.9], weight_decay=0.5), model)
    _give(model, [4.0, -0.01], [2.0])
    optimizer.step()  # the mean is 0: the gradient's signs; matrices decay by 0.1 * 0.5 first, biases do not
    assert model.weight.tolist()[0] == pytest.approx([0.95 - 0.1, 1.9 + 0.1])
    assert model.bias.tolist() == pytest.approx([2.9])
    _give(model, [-0.1, 0.1], [-0.3])
    optimizer.step()
    # Means are now a tenth of the first gradients: (0.4, -0.001, 0.2). Half of them and half of the new ones: (+, +, -).
    assert model.weight.tolist()[0] == pytest.approx([0.95 * 0.85 - 0.1, 0.95 * 2.0 - 0.1])
    assert model.bias.tolist() == pytest.approx([2.9 + 0.1])


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 3, 2, 2)])
def test_muon_s_step_is_nearly_orthogonal_and_as_large_as_adamw_s(shape: tuple[int, ...]) -> None:
    """Every singular value of the step is near lr * 0.2 * the root of the larger side: the iteration stops at 0.7 to 1.2 of it."""
    torch.manual_seed(0)
    model = nn.Module()
    model.layer = nn.Linear(shape[1], shape[0], bias=False) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], 2, bias=False)
    weight = model.layer.weight
    before = weight.detach().clone()
    optimizer = _optimizer(chosen("optimizer=muon", lr=0.1, weight_decay=0.0), model)
    weight.grad = torch.randn(shape) * 1e-3
    optimizer.step()
    matrix = (before - weight.detach()).flatten(1)
    found = torch.linalg.svdvals(matrix) / (0.1 * 0.2 * max(matrix.shape) ** 0.5)
    assert found.min() > 0.5
    assert found.max() < 1.3


def test_muon_leaves_embeddings_norms_biases_and_the_output_to_adamw() -> None:
    shape = {"vocabulary": 7, "context": 5}
    model = load("architecture", "gpt")(chosen("architecture=gpt", width=64, depth=1), shape, 0.0)
    names = {id(one): name for name, one in model.named_parameters()}
    optimizer = _optimizer(chosen("optimizer=muon", lr=0.1), model)
    hidden = {names[id(one)] for one in optimizer.param_groups[0]["params"]}
    assert len(hidden) == 4
    assert all(name.endswith(".weight") and ("attention." in name or "feed_forward." in name) for name in hidden)
    mlp = load("architecture", "mlp")(chosen("architecture=mlp", widths=[4, 3]), {"inputs": 3, "outputs": 2}, 0.0)
    others = {
        id(one) for group in _optimizer(chosen("optimizer=muon", lr=0.1), mlp).param_groups[1:] for one in group["params"]
    }
    assert {name for name, one in mlp.named_parameters() if id(one) in others} == {
        "hidden1.bias", "hidden2.bias", "output.weight", "output.bias",
    }  # fmt: skip


def test_adafactor_s_first_step_is_relative_to_the_weights() -> None:
    """A vector: the second moment is the gradient's own square, so each entry moves by lr times the weights' root mean square."""
    model = _one_linear([3.0, 4.0], [2.0])
    optimizer = _optimizer(chosen("optimizer=adafactor", lr=0.1), model)
    _give(model, [0.5, -0.5], [7.0])
    optimizer.step()
    assert model.bias.tolist() == pytest.approx([2.0 - 0.1 * 2.0])
    assert model.weight.tolist()[0] == pytest.approx([3 - 0.1 * 12.5**0.5, 4 + 0.1 * 12.5**0.5])


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_muon_in_fp32_goes_where_torch_s_goes_in_bf16(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    begin = torch.randn(shape, generator=generator)
    settings: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.3, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw"}
    ends = []
    for kind in (torch.optim.Muon, MuonInItsOwnType):
        weight, drawn = nn.Parameter(begin.clone()), torch.Generator().manual_seed(1)
        optimizer = kind([weight], **settings)
        for _ in range(3):
            weight.grad = torch.randn(shape, generator=drawn)
            optimizer.step()
        ends.append(weight.detach())
    moved = (ends[0] - begin).norm()
    assert (ends[1] - ends[0]).norm() < 0.02 * moved  # bf16 has two to three digits


def test_an_orthogonalised_matrix_has_singular_values_of_about_one() -> None:
    values = torch.linalg.svdvals(orthogonalised(torch.randn(20, 50, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_bf16_is_left_to_processors_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for isa, slow in ((["avx2"], True), (["avx512f", "avx512_bf16"], False), (["amx_bf16"], False)):
        monkeypatch.setattr("thrifty.optimizers.muon.cpu_isa", lambda isa=isa: isa)
        assert bf16_products_are_slow(torch.zeros(1)) is slow
    assert not bf16_products_are_slow(torch.zeros(1, device="meta"))
