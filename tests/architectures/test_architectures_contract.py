"""What every architecture must do, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chosen import chosen
from thrifty.config.registry import CHOICES, load


@dataclass
class Example:
    """A small model of an architecture, a batch for it, and a loss."""

    config: Any
    shape: dict[str, int]
    batch: Callable[[], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    outputs: tuple[int, ...]

    def build(self, dropout: float = 0.0) -> nn.Module:
        return load("architecture", self.config.name)(self.config, self.shape, dropout)


def _tokens() -> tuple[Tensor, Tensor]:
    tokens = torch.randint(0, 50, (4, 17), generator=torch.Generator().manual_seed(3))
    return tokens[:, :-1], tokens[:, 1:]


def _rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, 5, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def _images(channels: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, channels, height, width, generator=generator), torch.randint(0, 3, (16,), generator=generator)


IMAGES = {"8x8x1": (1, 8, 8), "28x28x1": (1, 28, 28), "32x32x3": (3, 32, 32), "17x23x4": (4, 17, 23)}
"""Channels, height and width: digits, and sizes that neither a patch nor a stride of 2 divides."""
OF_IMAGES = {
    "mlp": chosen("architecture=mlp", widths=[64, 32, 16]),
    "resnet": chosen("architecture=resnet", depth=8),
    "vit": chosen("architecture=vit", width=64, depth=2),
}
EXAMPLES = {
    "gpt": Example(
        chosen("architecture=gpt", width=64, depth=2, context=16),
        {"vocabulary": 50, "context": 16},
        _tokens,
        lambda outputs, targets: F.cross_entropy(outputs.flatten(0, 1), targets.flatten()),
        (4, 16, 50),
    ),
    "mlp": Example(
        chosen("architecture=mlp", widths=[64, 32, 16]), {"inputs": 5, "outputs": 3}, _rows, F.cross_entropy, (16, 3)
    ),
    **{
        f"{name}-{size}": Example(
            config,
            {"channels": image[0], "height": image[1], "width": image[2], "outputs": 3},
            partial(_images, *image),
            F.cross_entropy,
            (16, 3),
        )
        for name, config in OF_IMAGES.items()
        for size, image in IMAGES.items()
    },
}


def test_every_architecture_has_an_example_for_each_of_its_tasks() -> None:
    of_images = {one.config.name for one in EXAMPLES.values() if "channels" in one.shape}
    assert {one.config.name for one in EXAMPLES.values()} == set(CHOICES["architecture"])
    assert of_images == {name for name, choice in CHOICES["architecture"].items() if "image" in choice.schema.TASKS}


@pytest.fixture(params=sorted(EXAMPLES))
def example(request: pytest.FixtureRequest) -> Example:
    torch.manual_seed(0)
    return EXAMPLES[request.param]


def test_outputs_have_the_shape_the_loss_expects(example: Example) -> None:
    inputs, _ = example.batch()
    outputs = example.build()(inputs)
    assert outputs.shape == example.outputs
    assert outputs.dtype == torch.float32


def test_gradients_reach_every_parameter(example: Example) -> None:
    model = example.build()
    inputs, targets = example.batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    dead = {name for name, _ in model.named_parameters()}
    for _ in range(2):  # a block that begins by adding nothing passes gradients on once its scale has moved
        optimizer.zero_grad()
        example.loss(model(inputs), targets).backward()
        dead -= {name for name, one in model.named_parameters() if one.grad is not None and one.grad.abs().sum() > 0}
        optimizer.step()
    assert dead == set()


def test_one_batch_can_be_learned_by_heart(example: Example) -> None:
    model = example.build()
    inputs, targets = example.batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = example.loss(model(inputs), targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 10


def test_a_seed_decides_weights_and_dropout(example: Example) -> None:
    inputs, _ = example.batch()
    outputs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs.append(example.build(dropout=0.3).train()(inputs))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_dropout_acts_in_training_only(example: Example) -> None:
    inputs, _ = example.batch()
    model = example.build(dropout=0.5)
    model.train()
    assert not torch.equal(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))
    still = example.build(dropout=0.0).train()
    assert torch.equal(still(inputs), still(inputs))


def test_dropout_changes_neither_the_names_of_weights_nor_what_they_compute(example: Example) -> None:
    inputs, _ = example.batch()
    trained, loaded = example.build(dropout=0.5).eval(), example.build(dropout=0.0).eval()
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(trained(inputs), loaded(inputs))


def test_weights_share_no_memory_and_are_ordinary(example: Example) -> None:
    # safetensors refuses shared tensors, and so does a count of parameters.
    state = example.build().state_dict()
    addresses = [tensor.data_ptr() for tensor in state.values()]
    assert len(set(addresses)) == len(addresses)
    assert all(tensor.is_contiguous() and tensor.isfinite().all() for tensor in state.values())


def test_on_meta_it_costs_no_memory_and_no_randomness(example: Example) -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        model = example.build()
    assert {one.device.type for one in model.state_dict().values()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), before)


def test_an_example_alone_is_answered_as_in_a_batch(example: Example) -> None:
    inputs, _ = example.batch()
    model = example.build().eval()
    torch.testing.assert_close(model(inputs)[1:2], model(inputs[1:2]), rtol=1e-4, atol=1e-5)


def test_example_inputs_are_what_it_takes_and_always_the_same(example: Example) -> None:
    make = load("architecture", example.config.name, "example_inputs")
    inputs, _ = example.batch()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = make(example.config, example.shape, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.dtype, found.shape) == (inputs.dtype, (3, *inputs.shape[1:]))
    assert torch.equal(found, make(example.config, example.shape, 3))
    assert example.build()(found).isfinite().all()
    assert len(found.unique()) > 3


@pytest.mark.parametrize("rung", ["nano", "xxlarge"])
def test_every_rung_is_built(example: Example, rung: str) -> None:
    config = chosen(f"architecture={example.config.name}", **type(example.config).LADDER[rung].shape)
    with torch.device("meta"):
        model = load("architecture", config.name)(config, example.shape, 0.0)
    assert sum(one.numel() for one in model.parameters()) > 1000


def test_what_is_built_lies_whole_in_its_file_and_on_the_cpu(example: Example) -> None:
    # A buffer that is not saved would stay on meta where a trained model is read back.
    model = example.build()
    held = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    assert set(model.state_dict()) == held
    assert {one.device.type for one in model.state_dict().values()} == {"cpu"}


def test_its_output_layer_has_one_of_the_names_that_optimizers_look_for(example: Example) -> None:
    layers = {name: one for name, one in example.build().named_modules() if isinstance(one, (nn.Linear, nn.Embedding))}
    last = "tokens" if example.config.name == "gpt" else {"mlp": "output"}.get(example.config.name, "head")  # gpt ties them
    assert layers[last].weight.shape[0] == example.outputs[-1]
