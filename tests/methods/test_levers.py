"""What may be done to training beside its optimizer: clipping, parts of a batch, averaging, computing again, compiling."""

from __future__ import annotations

import re

import pytest
import torch
from small_training import Points, Training, mlp, same_bits
from torch import nn

from chosen import chosen
from thrifty.config.compose import compose
from thrifty.config.registry import load
from thrifty.engines.compile import compiled_for_training
from thrifty.engines.compiler import why_no_compiler
from thrifty.errors import BadConfiguration
from thrifty.methods.recomputation import recompute_blocks
from thrifty.methods.requirements import check_levers
from thrifty.methods.weight_average import WeightAverage

CPU = torch.device("cpu")
SGD = ("optimizer=sgd", "schedule=constant", "optimizer.lr=0.5")


def small_gpt(recompute: bool = False) -> nn.Module:
    torch.manual_seed(0)
    shape = {"vocabulary": 11, "context": 8}
    model = load("architecture", "gpt")(chosen("architecture=gpt", width=64, depth=2), shape, 0.2)
    if recompute:
        assert recompute_blocks(model) == 2
    return model


def test_a_gradient_longer_than_the_clip_is_scaled_to_it() -> None:
    """Plain descent moves by lr times the gradient: so its length shows."""
    data = Points.drawn()
    free, clipped = Training(mlp(4), data, SGD, steps=1), Training(mlp(4), data, SGD, steps=1)
    clipped.module.clip = 0.01
    start = free.weights
    moved = [
        torch.cat([(one - start[name]).flatten() for name, one in training.run().weights.items()])
        for training in (free, clipped)
    ]
    assert moved[0].norm() / 0.5 > 0.05
    assert moved[1].norm() / 0.5 == pytest.approx(0.01, rel=1e-3)
    assert torch.allclose(moved[0] / moved[0].norm(), moved[1] / moved[1].norm(), atol=1e-4), "the direction stays"


def test_a_clip_above_every_gradient_changes_nothing() -> None:
    data = Points.drawn()
    free, clipped = Training(mlp(4), data, SGD), Training(mlp(4), data, SGD)
    clipped.module.clip = 1e6
    assert same_bits(free.run().weights, clipped.run().weights)


def test_the_average_is_the_running_mean_and_comes_and_goes() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = WeightAverage(model, 0.5)
    for value in (2.0, 4.0, 8.0):
        model.weight.data.fill_(value)
        average.update()
    # Decays (1 + t) / (10 + t): 0.1, 2/11, 3/12, all below 0.5.
    mean = 0.1 * 1 + 0.9 * 2
    mean = 2 / 11 * mean + 9 / 11 * 4
    mean = 0.25 * mean + 0.75 * 8
    with average.in_place():
        assert model.weight.item() == pytest.approx(mean)
    assert model.weight.item() == 8.0
    average.keep()
    assert model.weight.item() == pytest.approx(mean)


def test_the_average_covers_the_running_statistics_of_norms() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.9)
    model.running_mean.fill_(10.0)  # pyright: ignore[reportOptionalMemberAccess]
    average.update()
    average.keep()
    assert model.running_mean.item() == pytest.approx(9.0)  # pyright: ignore[reportOptionalMemberAccess]
    assert model.num_batches_tracked.item() == 0  # pyright: ignore[reportOptionalMemberAccess]


def test_training_validates_and_keeps_the_average() -> None:
    data, model = Points.drawn(), mlp(4)
    seen: list[dict[str, torch.Tensor]] = []
    training = Training(model, data, SGD, steps=3, validation_steps={3})
    training.module.average = WeightAverage(model, 0.9)
    before = training.monitor.validate
    training.monitor.validate = lambda model: seen.append(training.weights) or before(model)
    training.run()
    plain = Training(mlp(4), data, SGD, steps=3).run().weights
    assert same_bits(seen[-1], training.weights), "what is kept is what was validated"
    assert not same_bits(plain, training.weights)


@pytest.mark.parametrize("parts", [2, 3])
def test_a_batch_in_parts_gives_the_same_gradients(parts: int) -> None:
    data = Points.drawn()
    whole = Training(mlp(4), data, SGD, batch_size=6).run().weights
    divided = Training(mlp(4), data, SGD, batch_size=6, most_at_once=6 // parts).run().weights
    for name, one in whole.items():
        assert torch.allclose(one, divided[name], atol=1e-6), name


def test_activations_computed_again_give_the_same_gradients_and_keep_less() -> None:
    tokens = torch.randint(0, 11, (4, 8), generator=torch.Generator().manual_seed(1))
    gradients, kept = [], []
    for recompute in (False, True):
        model, bytes_kept = small_gpt(recompute).train(), 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal bytes_kept
            bytes_kept += tensor.nbytes
            return tensor

        torch.manual_seed(5)  # of dropout, which must be the same in both passes
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(tokens).square().mean()
        kept.append(bytes_kept)
        loss.backward()
        gradients.append({name: one.grad for name, one in model.named_parameters()})
    assert same_bits(gradients[0], gradients[1])
    assert kept[1] < kept[0] / 3


def test_evaluation_computes_nothing_again() -> None:
    model = small_gpt(recompute=True).eval()
    tokens = torch.zeros(1, 8, dtype=torch.int64)
    with torch.inference_mode():
        assert torch.equal(model(tokens), small_gpt().eval()(tokens))


@pytest.mark.skipif(why_no_compiler() is not None, reason="needs a C++ compiler")
def test_a_compiled_training_takes_the_same_steps() -> None:
    data = Points.drawn()
    eager = Training(mlp(4), data, SGD).run().weights
    compiled = Training(mlp(4), data, SGD)
    compiled.module.forward_pass = compiled_for_training(compiled.model)
    names = set(compiled.module.state_dict())
    compiled.run()
    assert set(compiled.module.state_dict()) == names, "no second copy of the weights"
    for name, one in eager.items():
        assert torch.allclose(one, compiled.weights[name], atol=1e-5), name


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.accumulate=5", "train.accumulate=5: a batch of 4 cannot be computed in so many parts; give at most that"),
        ("train.recompute=true", "train.recompute=true: architecture=mlp has no blocks"),
    ],
)
def test_what_cannot_be_done_is_refused(override: str, message: str) -> None:
    data = Points.drawn()
    data.has_classes = True
    with pytest.raises(BadConfiguration, match=re.escape(message)):
        check_levers(compose(["task=tabular", override]), data, 4, CPU)
