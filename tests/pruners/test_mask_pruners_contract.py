"""What every pruner of single weights keeps to, on every architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thrifty.architectures.gpt import GptModel
from thrifty.architectures.resnet import PLANS, ResnetModel
from thrifty.architectures.transformer import initialise
from thrifty.architectures.vit import VitModel
from thrifty.config import registry
from thrifty.config.choices.pruners import NM, Movement, Pruner, Scope, Scoped
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner, Masks
from thrifty.pruners.masking import Masking
from thrifty.pruners.targets import find_targets

PROTECT = ["embeddings", "norms", "biases", "head"]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3))


def _vit() -> nn.Module:
    model = VitModel((1, 8, 8), 10, patch=4, width=64, depth=1, dropout=0.1)
    initialise(model, 1)
    return model


def _resnet() -> nn.Module:
    # 4 channels, so that 2:4 divides the stem as well.
    return ResnetModel((4, 8, 8), 10, PLANS[8], quartered=False, dropout=0.0, channels_last=True)


def _gpt() -> nn.Module:
    model = GptModel(vocabulary=50, context=8, width=64, depth=1, dropout=0.1)
    initialise(model, 1)
    return model


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (_mlp, (20,)),
    "vit": (_vit, (1, 8, 8)),
    "resnet": (_resnet, (4, 8, 8)),
    "gpt": (_gpt, (8,)),
}


def configurations(protect: list[str]) -> dict[str, Pruner]:
    return {
        **{f"magnitude-{one.name}": Scoped(name="magnitude", protect=protect, scope=one) for one in Scope},
        **{f"random-{one.name}": Scoped(name="random", protect=protect, scope=one) for one in Scope},
        **{f"movement-{one.name}": Movement(name="movement", protect=protect, scope=one) for one in Scope},
        "wanda": Pruner(name="wanda", protect=protect),
        "n_m": NM(name="n_m", protect=protect, pattern="2:4"),
    }


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on several, by far where other processes have the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


RANKED = [name for name in configurations(PROTECT) if name != "n_m"]
EVERY = list(configurations(PROTECT))


def made(name: str, protect: list[str] = PROTECT) -> MaskPruner:
    config = configurations(protect)[name]
    return registry.load("pruner", config.name)(config)


def fresh(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[architecture][0]()


def calibration(architecture: str, batches: int = 2) -> Calibration:
    generator = torch.Generator().manual_seed(1)
    shape = MODELS[architecture][1]

    def batch() -> tuple[Tensor, Tensor]:
        if architecture == "gpt":
            tokens = torch.randint(50, (8, 9), generator=generator)
            return tokens[:, :-1], tokens[:, 1:]
        return torch.randn(8, *shape, generator=generator), torch.randint(3, (8,), generator=generator)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    return Calibration([batch() for _ in range(batches)], loss, lambda model, inputs: model(inputs))


def observed(pruner: MaskPruner, model: nn.Module, examples: Calibration) -> None:
    """As in training: a step's gradients, shown to the pruner."""
    torch.manual_seed(3)  # of dropout
    for inputs, targets in examples.batches:
        model.zero_grad()
        examples.loss(model(inputs), targets).backward()
        pruner.observe(model, 0.1)


def gone(masks: Masks) -> int:
    return sum(int((~one).sum()) for one in masks.values())


def rows(mask: Tensor) -> Tensor:
    return mask.flatten(1)


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("name", RANKED)
def test_exactly_as_many_go_and_only_of_the_targets(name: str, architecture: str) -> None:
    model, examples, pruner = fresh(architecture), calibration(architecture), made(name)
    observed(pruner, model, examples)
    targets = find_targets(model, PROTECT)
    for sparsity in (0.0, 0.123, 0.5, 0.9):
        masks = pruner.masks(model, sparsity, examples)
        assert list(masks) == list(targets.weights)
        assert all(one.dtype is torch.bool and one.shape == targets.weights[key].shape for key, one in masks.items())
        assert gone(masks) == round(sparsity * targets.total)
        assert pruner.about[0] == targets.protected_sentence


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "3:4"])
def test_of_every_group_exactly_n_stay(pattern: str, architecture: str) -> None:
    n, m = map(int, pattern.split(":"))
    model = fresh(architecture)
    pruner = registry.load("pruner", "n_m")(NM(name="n_m", protect=PROTECT, pattern=pattern))
    masks = pruner.masks(model, 1 - n / m)
    assert list(masks) == list(find_targets(model, PROTECT).weights)
    for name, mask in masks.items():
        groups = rows(mask).unflatten(1, (-1, m))
        assert (groups.sum(2) == n).all(), name
        sizes = rows(model.get_parameter(name)).detach().abs().unflatten(1, (-1, m))
        assert (sizes.masked_fill(~groups, torch.inf).amin(2) >= sizes.masked_fill(groups, 0).amax(2)).all(), name


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("name", EVERY)
def test_nothing_comes_back_and_every_count_on_the_way_is_exact(name: str, architecture: str) -> None:
    model, examples, pruner = fresh(architecture), calibration(architecture), made(name)
    total = find_targets(model, PROTECT).total
    masking = Masking(model)
    generator = torch.Generator().manual_seed(5)
    for sparsity in (0.1, 0.25, 0.37, 0.5):
        observed(pruner, model, examples)
        masks = pruner.masks(model, sparsity, examples, masking.masks)
        assert not any((one & ~masking.masks[key]).any() for key, one in masks.items() if key in masking.masks)
        assert gone(masks) == (total // 2 if name == "n_m" and sparsity == 0.5 else round(sparsity * total))
        masking.tighten(masks)
        masking.hold()
        with torch.no_grad():  # a step of training: sizes change their order
            for one in model.parameters():
                one.add_(0.5 * torch.randn(one.shape, generator=generator) * one.std(correction=0))
        masking.hold()
    if name == "n_m":
        assert all((rows(one).unflatten(1, (-1, 4)).sum(2) == 2).all() for one in masking.masks.values())


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("name", EVERY)
def test_the_same_again_and_the_model_is_left_as_it_was(name: str, architecture: str) -> None:
    model, examples = fresh(architecture), calibration(architecture)
    model.train()
    first, second = made(name), made(name)
    for pruner in (first, second):
        observed(pruner, model, examples)
    model.zero_grad()
    before = {key: one.clone() for key, one in model.state_dict().items()}
    state = torch.get_rng_state()
    masks = first.masks(model, 0.5, examples)
    assert all(torch.equal(one, masks[key]) for key, one in second.masks(model, 0.5, examples).items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, before[key]) for key, one in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(one.grad is None for one in model.parameters())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", EVERY)
def test_what_is_protected_by_name_is_not_in_the_masks(name: str) -> None:
    model, examples, pruner = fresh("gpt"), calibration("gpt"), made(name, [*PROTECT, "*.qkv"])
    observed(pruner, model, examples)
    masks = pruner.masks(model, 0.5, examples)
    assert len(masks) == 3
    assert not any("qkv" in key for key in masks)


@pytest.mark.parametrize("name", EVERY)
def test_a_model_with_nothing_to_prune(name: str) -> None:
    examples = calibration("mlp")
    with pytest.raises(Unsupported, match="nothing of the model is left to prune"):
        made(name).masks(nn.Sequential(nn.LayerNorm(20)), 0.5, examples)


@pytest.mark.parametrize("name", EVERY)
def test_a_misspelt_name_is_refused(name: str) -> None:
    with pytest.raises(BadConfiguration, match="did you mean 'head'"):
        made(name, [*PROTECT, "heads"]).masks(fresh("vit"), 0.5, calibration("vit"))


@pytest.mark.parametrize("name", RANKED)
def test_vectors_and_embeddings_are_pruned_where_they_are_not_protected(name: str) -> None:
    model, examples, pruner = fresh("vit"), calibration("vit"), made(name, [])
    observed(pruner, model, examples)
    if name == "wanda":
        with pytest.raises(Unsupported, match="nothing is multiplied by it"):
            pruner.masks(model, 0.5, examples)
    else:
        assert gone(pruner.masks(model, 0.5, examples)) == round(0.5 * sum(one.numel() for one in model.parameters()))


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith("movement")])
def test_the_state_of_most_is_empty(name: str) -> None:
    assert made(name).state() == {}
