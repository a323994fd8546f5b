"""Which blocks go, and that a block that does nothing can go without a trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chosen import chosen
from thrifty.architectures import gpt, mlp, resnet
from thrifty.architectures.cache import Decoder
from thrifty.config.registry import load
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.form import form_of
from thrifty.pruners.layer_drop import evenly_spaced, similarities

IMAGES = {"channels": 1, "height": 8, "width": 8, "outputs": 3}
TOKENS = torch.randint(20, (9, 8), generator=torch.Generator().manual_seed(2))


def transformer(depth: int) -> nn.Module:
    torch.manual_seed(0)
    return gpt.build(chosen("architecture=gpt", width=64, depth=depth), {"vocabulary": 20, "context": 8}, 0.0)


def convolutional(depth: int) -> nn.Module:
    torch.manual_seed(0)
    return resnet.build(chosen("architecture=resnet", depth=depth), IMAGES, 0.0)


def of(*batches: Tensor) -> Calibration:
    return Calibration([(one, one) for one in batches], lambda outputs, _: outputs.mean(), lambda model, inputs: model(inputs))


def dropped(model: nn.Module, sparsity: float, which: str, calibration: Calibration | None = None, **changes: Any) -> nn.Module:
    pruner = load("pruner", "layer_drop")(chosen("pruner=layer_drop", which=which, **changes))
    return pruner.shrink(model, sparsity, TOKENS, calibration)


def kept(model: nn.Module, *arguments: Any, **changes: Any) -> dict[str, list[int]]:
    return form_of(dropped(model, *arguments, **changes))["blocks"]


def silenced(model: nn.Module, block: str, size: float = 0.0) -> None:
    """Whatever the block adds to the stream is `size` times what it was."""
    for name, one in model.named_parameters():
        if name.startswith(f"{block}.") and (".projection." in name or ".norm2." in name):
            one.data *= size


@pytest.mark.parametrize(
    ("count", "among", "places"),
    [
        (0, 4, []),
        (1, 4, [2]),
        (2, 4, [1, 3]),
        (3, 4, [0, 2, 3]),
        (6, 12, [1, 3, 5, 7, 9, 11]),
        (4, 12, [1, 4, 7, 10]),
        (3, 3, [0, 1, 2]),
    ],
)
def test_even_spaces(count: int, among: int, places: list[int]) -> None:
    assert evenly_spaced(count, among) == places


def test_even_and_last_blocks() -> None:
    assert kept(transformer(4), 0.5, "even") == {"blocks": [0, 2]}
    assert kept(transformer(4), 0.5, "last") == {"blocks": [0, 1]}
    assert kept(transformer(4), 0.3, "last") == {"blocks": [0, 1, 2]}
    assert kept(transformer(4), 0.75, "last") == {"blocks": [0]}


def test_blocks_that_change_their_input_least_go_first() -> None:
    model = transformer(4)
    silenced(model, "blocks.2")
    silenced(model, "blocks.0", 0.01)
    calibration = of(TOKENS[:6], TOKENS[6:])
    assert kept(model, 0.25, "importance", calibration) == {"blocks": [0, 1, 3]}
    assert kept(model, 0.5, "importance", calibration) == {"blocks": [1, 3]}


def test_a_block_that_adds_nothing_goes_without_a_trace() -> None:
    model = transformer(3).eval()
    silenced(model, "blocks.1")
    smaller = dropped(model, 1 / 3, "importance", of(TOKENS))
    assert isinstance(smaller, Decoder)
    with torch.no_grad():
        assert torch.equal(smaller(TOKENS), model(TOKENS))
    _, cache = smaller.prefill(TOKENS[:, :7])
    assert len(cache.kept) == 2
    torch.testing.assert_close(smaller.decode(TOKENS[:, 7:], cache), model(TOKENS)[:, 7], rtol=1e-5, atol=1e-5)
    assert len(model.get_submodule("blocks")._modules) == 3


def test_a_resnet_s_block_that_adds_nothing_goes_without_a_trace() -> None:
    model = convolutional(14).eval()  # a fresh one adds nothing in any block, as its last norm is 0
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for name, one in model.named_parameters():
        if ".norm2.weight" in name:
            one.data.fill_(1.0)
    silenced(model, "stages.1.1")
    blocks = ("stages.0.0", "stages.0.1", "stages.1.1", "stages.2.1")
    weights = [sum(one.numel() for one in model.get_submodule(name).parameters()) for name in blocks]
    assert weights == [4672, 4672, 18560, 73984]  # 18 width ** 2 + 4 width
    smaller = dropped(model, 18560 / sum(weights), "importance", of(images))
    assert form_of(smaller)["blocks"] == {"stages.1": [0]}
    with torch.no_grad():
        assert torch.equal(smaller(images), model(images))


def test_a_resnet_loses_only_what_keeps_the_shape() -> None:
    assert kept(convolutional(14), 1.0, "last") == {"stages.0": [], "stages.1": [0], "stages.2": [0]}
    assert kept(convolutional(14), 0.7, "last") == {"stages.2": [0]}, "the last block has 73,984 of 101,888 parameters"
    assert dropped(convolutional(14), 1.0, "last").eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


class Turn(nn.Module):
    """Rotates the two features by an angle."""

    def __init__(self, degrees: float) -> None:
        super().__init__()
        self.attention = nn.Identity()
        angle = torch.deg2rad(torch.tensor(degrees))
        self.matrix = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))

    def forward(self, stream: Tensor) -> Tensor:
        return stream @ self.matrix.T


def test_similarity_is_the_cosine_over_all_examples() -> None:
    model = nn.Sequential(Turn(60.0), Turn(90.0), Turn(180.0))
    streams = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0))
    found = similarities(model, ["0", "1", "2"], of(streams[:1], streams[1:]))
    assert found == pytest.approx({"0": 0.5, "1": 0.0, "2": -1.0}, abs=1e-6)
    assert not any(module._forward_hooks for module in model.modules())


def test_similarities_are_weighted_by_examples() -> None:
    class Flip(nn.Module):
        def forward(self, stream: Tensor) -> Tensor:
            return stream if len(stream) == 1 else -stream

    assert similarities(nn.Sequential(Flip()), ["0"], of(torch.ones(1, 1, 2), torch.ones(3, 1, 2))) == {
        "0": pytest.approx(-0.5)
    }


@pytest.mark.parametrize(("sparsity", "nearest"), [(0.1, "none"), (0.9, "all")])
def test_shares_that_round_to_none_or_all_are_refused(sparsity: float, nearest: str) -> None:
    message = (
        rf"^sparsity={sparsity}: is nearest to {nearest} of the model's 4 blocks; .* can remove 0\.25, 0\.5, 0\.75 of their"
    )
    with pytest.raises(Unsupported, match=message):
        dropped(transformer(4), sparsity, "last")


@pytest.mark.parametrize("model", [transformer(1), mlp.build(chosen("architecture=mlp", widths=[8, 8]), IMAGES, 0.0)])
def test_models_without_a_block_to_spare_are_refused(model: nn.Module) -> None:
    with pytest.raises(Unsupported, match="no block of the model can go"):
        dropped(model, 0.5, "last")


@pytest.mark.parametrize("calibration", [None, of()])
def test_importance_needs_examples(calibration: Calibration | None) -> None:
    with pytest.raises(BadConfiguration, match=r"^method\.calibration=0: "):
        dropped(transformer(2), 0.5, "importance", calibration)


def test_protected_blocks_stay() -> None:
    assert kept(transformer(4), 0.5, "last", protect=["blocks.3.*", "biases"]) == {"blocks": [0, 3]}
    assert kept(transformer(4), 1.0, "last", protect=["blocks.3.attention.qkv"]) == {"blocks": [3]}


def test_the_model_stays_as_it_was_and_says_what_went() -> None:
    model = transformer(4).train()
    pruner = load("pruner", "layer_drop")(chosen("pruner=layer_drop", which="even"))
    smaller = pruner.shrink(model, 0.4, TOKENS)
    assert len(model.get_submodule("blocks")._modules) == 4
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in smaller.modules())
    # 12 width ** 2 weights, 13 width biases and norms in each block.
    assert pruner.about == [
        "dropped 2 of 4 blocks that can go: blocks.1, blocks.3",
        f"50.00 % of their {4 * (12 * 64**2 + 13 * 64):,} parameters are gone, where 40 % were asked for",
    ]
