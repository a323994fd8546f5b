"""The steps of the LightningModule, against numpy and against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import Points, Training, mlp, same_bits

from thrifty.config.compose import compose
from thrifty.config.registry import load
from thrifty.methods.sampler import BatchSampler

ALPHA, BETA, L1, L2 = 0.5, 0.25, 0.01, 0.02
SAMPLES, BATCH = 7, 5
GIVEN = np.random.default_rng(4)
X, TARGET = GIVEN.normal(size=(SAMPLES, 3)), (GIVEN.random(SAMPLES) > 0.5).astype(float)
WEIGHTS = {
    "hidden1.weight": GIVEN.normal(size=(4, 3)),
    "hidden1.bias": GIVEN.normal(size=4),
    "output.weight": GIVEN.normal(size=(1, 4)),
    "output.bias": GIVEN.normal(size=1),
}


def by_hand(steps: int, smoothing: float = 0.0, l1: float = L1, l2: float = L2) -> tuple[dict[str, np.ndarray], list[float]]:
    """Weights after gradient descent, and the loss of each step, in numpy, one sample after the other.

    L = 1/m sum of -[t log s(z) + (1-t) log(1-s(z))] + l1 sum |W| + l2 sum W^2, z = W2 relu(W1 x + b1) + b2,
    W <- W - alpha0 / (1 + beta k) dL/dW in step k.
    """
    w = {name: value.copy() for name, value in WEIGHTS.items()}
    losses = []
    drawn = (BatchSampler(SAMPLES, BATCH, seed=3).draws(0, steps) % SAMPLES).tolist()
    for k, batch in enumerate(drawn):
        gradient = {name: np.zeros_like(value) for name, value in w.items()}
        loss = 0.0
        for i in batch:
            before = w["hidden1.weight"] @ X[i] + w["hidden1.bias"]
            hidden = np.where(before > 0, before, 0)
            z = (w["output.weight"] @ hidden + w["output.bias"])[0]
            s, t = 1 / (1 + np.exp(-z)), TARGET[i] * (1 - smoothing) + smoothing / 2
            loss -= (t * np.log(s) + (1 - t) * np.log(1 - s)) / BATCH
            dz = (s - t) / BATCH  # of the sigmoid and the cross-entropy together
            dbefore = dz * w["output.weight"][0] * (before > 0)
            gradient["output.weight"] += dz * hidden
            gradient["output.bias"] += dz
            gradient["hidden1.weight"] += np.outer(dbefore, X[i])
            gradient["hidden1.bias"] += dbefore
        for name in ("hidden1.weight", "output.weight"):
            gradient[name] += l1 * np.sign(w[name]) + 2 * l2 * w[name]
        for name in w:
            w[name] = w[name] - ALPHA / (1 + BETA * k) * gradient[name]
        losses.append(loss)
    return w, losses


def trained(steps: int, *overrides: str, most_at_once: int | None = None, steps_per_call: int = 1) -> Training:
    model = mlp(4).double()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in WEIGHTS.items()})
    data = Points(torch.from_numpy(X), torch.from_numpy(TARGET))
    descent = ("optimizer=sgd", f"optimizer.lr={ALPHA}", "schedule=inverse_time", f"schedule.beta={BETA}")
    return Training(
        model, data, (*descent, *overrides), steps, BATCH, most_at_once=most_at_once, steps_per_call=steps_per_call
    ).run()


PENALTIES = (f"regularizer.l1={L1}", f"regularizer.l2={L2}")


def assert_equal(training: Training, expected: dict[str, np.ndarray]) -> None:
    """As near as the loss, which is computed in 32 bits, lets them be."""
    for name, one in training.weights.items():
        np.testing.assert_allclose(one.numpy(), expected[name], rtol=1e-6, atol=1e-7, err_msg=name)


# Parts of 5, 3 + 2 and 1 + 1 + 1 + 1 + 1 of a batch: the mean must be over the batch, whatever the part.
@pytest.mark.parametrize("most_at_once", [None, 3, 1])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_steps_of_gradient_descent_are_the_formula(steps: int, most_at_once: int | None) -> None:
    expected, losses = by_hand(steps)
    training = trained(steps, *PENALTIES, most_at_once=most_at_once, steps_per_call=3)
    assert_equal(training, expected)
    assert training.module.steps_made == steps
    assert training.module.call_losses[-1].item() == pytest.approx(losses[-1], rel=1e-6)  # without the penalties
    moved = np.abs(expected["hidden1.weight"] - WEIGHTS["hidden1.weight"])
    assert moved.min() > 1e-4


def test_without_penalties_there_are_none() -> None:
    assert_equal(trained(2), by_hand(2, l1=0, l2=0)[0])


@pytest.mark.parametrize(("override", "l1", "l2"), [("l1", L1, 0.0), ("l2", 0.0, L2)])
def test_each_penalty_by_itself(override: str, l1: float, l2: float) -> None:
    assert_equal(trained(2, f"regularizer.{override}={l1 or l2}"), by_hand(2, l1=l1, l2=l2)[0])


def test_label_smoothing_reaches_the_loss_that_is_minimised() -> None:
    smooth = trained(2, "regularizer.label_smoothing=0.3")
    expected, losses = by_hand(2, smoothing=0.3, l1=0, l2=0)
    assert_equal(smooth, expected)
    assert smooth.module.call_losses[-1].item() == pytest.approx(losses[-1], rel=1e-6)


def test_the_learning_rate_of_each_step_is_the_schedules() -> None:
    training = trained(3)
    assert [training.module.learning_rate(step) for step in range(3)] == [ALPHA, ALPHA / 1.25, ALPHA / 1.5]
    assert [group["lr"] for group in training.module.optimizer.param_groups] == [ALPHA / 1.5]


# -- whole and in parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(precision: str) -> None:
    overrides = (*PENALTIES, f"precision={precision}")
    whole = Training(mlp(16, 8), Points.drawn(), overrides, batch_size=20).module
    parts = Training(mlp(16, 8), Points.drawn(), overrides, batch_size=20, most_at_once=6).module
    draws = torch.arange(20)
    loss = whole.backward_whole(*whole.data.batch("train", draws))
    assert parts.backward_in_parts(draws).item() == pytest.approx(loss.item(), rel=1e-6)
    # Half precisions round what each part adds up to 8 and 11 bits.
    tolerance = {"fp32": 1e-6, "bf16": 2**-8, "fp16": 2**-10}[precision]
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=tolerance, atol=tolerance * one.grad.abs().max().item())


def test_a_batch_no_larger_than_one_pass_is_not_divided() -> None:
    passes: list[int] = []
    training = Training(mlp(4), Points.drawn(), batch_size=6, steps=2, most_at_once=6)
    training.model.register_forward_hook(lambda model, inputs, outputs: passes.append(len(inputs[0])))
    training.run()
    assert passes == [6, 6]
    passes.clear()
    again = Training(mlp(4), Points.drawn(), batch_size=6, steps=2, most_at_once=4)
    again.model.register_forward_hook(lambda model, inputs, outputs: passes.append(len(inputs[0])))
    again.run()
    assert passes == [4, 2, 4, 2]


# -- steps in a call ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "precision",
    [("precision=fp32",), ("precision=fp16",), ("precision=bf16",), ("precision=bf16", "precision.weights=bf16")],
)
def test_many_steps_a_call_make_the_same_weights_to_the_bit(optimizer: str, precision: tuple[str, ...]) -> None:
    """With bf16 this is the trap of a cache: autocast, once entered, goes on with the weights it cast first."""

    def run(steps_per_call: int) -> Training:
        model = mlp(16, 8, dropout=0.2).to(torch.bfloat16 if len(precision) > 1 else torch.float32)
        torch.manual_seed(0)
        overrides = (f"optimizer={optimizer}", "optimizer.lr=0.05", "regularizer.l2=1e-3", *precision)
        return Training(model, Points.drawn(), overrides, steps=20, steps_per_call=steps_per_call).run()

    one, many = run(1), run(8)
    assert [call[0] for call in one.trace.calls] == [1] * 20
    assert [call[0] for call in many.trace.calls] == [1, 8, 8, 3]
    assert same_bits(one.weights, many.weights)
    assert not same_bits(one.weights, mlp(16, 8).state_dict())


def test_bf16_multiplies_with_the_weights_of_the_step() -> None:
    """Each forward pass sees the weights as the step before left them, also within one call."""
    seen = []
    training = Training(
        mlp(8), Points.drawn(), ("precision=bf16", "optimizer=sgd", "optimizer.lr=0.5"), steps=6, steps_per_call=5
    )
    output = training.model.get_submodule("output")

    def compare(module: torch.nn.Module, inputs: tuple[torch.Tensor], outputs: torch.Tensor) -> None:
        weight, bias = output.get_parameter("weight"), output.get_parameter("bias")
        fresh = inputs[0].bfloat16() @ weight.bfloat16().T + bias.bfloat16()
        seen.append(torch.allclose(outputs.float(), fresh.float(), rtol=2**-7, atol=2**-7))
        assert outputs.dtype == torch.bfloat16

    output.register_forward_hook(compare)
    training.run()
    assert seen == [True] * 6


# -- scaled losses ------------------------------------------------------------------------------------------------------


def descent(precision: str, factor: float, steps: int, lr: float = 0.5) -> Training:
    """Gradient descent on a loss that is `factor` times what it was, by steps that are as many times smaller."""
    data = Points.drawn()
    plain = data.loss
    data.loss = lambda *given: plain(*given) * factor
    overrides = ("optimizer=sgd", f"optimizer.lr={lr / factor}", "schedule=constant", f"precision={precision}")
    return Training(mlp(8), data, overrides, steps, batch_size=20)


def test_gradients_too_small_for_fp16_are_scaled_into_it() -> None:
    """At 1e-7 of their size all of them are below its least number, 6e-8."""
    exact, half = (descent(precision, 1e-7, steps=3).run() for precision in ("fp32", "fp16"))
    start = mlp(8).state_dict()
    for name, one in exact.weights.items():
        moved = one - start[name]
        assert moved.abs().max() > 1e-3
        torch.testing.assert_close(half.weights[name] - start[name], moved, rtol=0.02, atol=0.02 * moved.abs().max().item())


def test_a_step_with_infinite_gradients_is_not_made_and_the_scale_comes_down() -> None:
    """The scale begins at 2**16: with a loss a thousand times as large no fp16 holds it."""
    one = descent("fp16", 1000.0, steps=1).run()
    assert same_bits(one.weights, mlp(8).state_dict())
    assert one.module.scaler is not None
    assert one.module.scaler.get_scale() == 2**15
    many = descent("fp16", 1000.0, steps=30).run()
    assert all(torch.isfinite(weight).all() for weight in many.weights.values())
    assert not same_bits(many.weights, mlp(8).state_dict())


def test_clipping_sees_gradients_without_their_scale() -> None:
    moves = []
    for precision in ("fp32", "fp16"):
        training = descent(precision, 1.0, steps=1, lr=1.0)
        training.module.clip = 0.01
        training.run()
        start = mlp(8).state_dict()
        moves.append(torch.cat([(one - start[name]).flatten() for name, one in training.weights.items()]))
    assert [one.norm().item() for one in moves] == pytest.approx([0.01, 0.01], rel=1e-3)
    torch.testing.assert_close(moves[1], moves[0], rtol=0.02, atol=1e-4)


def test_the_scale_is_part_of_what_a_training_goes_on_from() -> None:
    before, after = descent("fp16", 1000.0, steps=4).run(), descent("fp16", 1000.0, steps=4)
    assert before.module.scaler is not None
    assert after.module.scaler is not None
    state = before.module.state()
    after.module.restore(state)
    assert after.module.scaler.get_scale() == before.module.scaler.get_scale() == 2**12
    assert descent("fp32", 1.0, steps=1).module.state()["scaler"] is None


# -- what takes part ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["mlp", "gpt"])
def test_gradients_reach_every_parameter(architecture: str, tmp_path: Path) -> None:
    if architecture == "mlp":
        training = Training(mlp(16, 8, 4), Points.drawn(), steps=1)
    else:
        text = tmp_path / "corpus.txt"
        text.write_bytes(bytes(range(1, 256)) * 20)
        shape = ("architecture.width=64", "architecture.depth=2", "architecture.context=8")
        chosen = compose(["task=text", f"task.path={text}", *shape])
        data = load("task", "text")(chosen.task).prepare(chosen.architecture)
        torch.manual_seed(0)
        training = Training(load("architecture", "gpt")(chosen.architecture, data.shape, 0.0), data, steps=1, batch_size=16)
    before = training.weights
    training.run()
    for name, one in training.model.named_parameters():
        assert one.grad is not None, name
        assert one.grad.abs().max() > 0, name
        assert not torch.equal(one, before[name]), name


def test_gradients_of_one_step_do_not_reach_into_the_next() -> None:
    training = Training(mlp(4), Points.drawn(), ("optimizer=sgd",), steps=2, steps_per_call=2)
    training.run()
    (last,) = BatchSampler(20, 4, seed=3).draws(1, 1)
    fresh = Training(mlp(4), Points.drawn(), ("optimizer=sgd",))
    first_only = Training(mlp(4), Points.drawn(), ("optimizer=sgd", "schedule=constant"), steps=1)
    first_only.module.lr_factor = training.module.lr_factor
    fresh.model.load_state_dict(first_only.run().weights)
    fresh.module.backward_whole(*fresh.data.batch("train", last))
    for one, other in zip(training.model.parameters(), fresh.model.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_dropout_is_at_work_while_training() -> None:
    zeros = []
    training = Training(mlp(200, dropout=0.5), Points.drawn(), steps=3)
    training.model.get_submodule("dropout1").register_forward_hook(
        lambda module, inputs, outputs: zeros.append((outputs[inputs[0] != 0] == 0).float().mean().item())
    )
    training.run()
    assert len(zeros) == 3
    assert all(0.35 < share < 0.65 for share in zeros)
