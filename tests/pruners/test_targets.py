"""What may be pruned, and what is protected."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from thrifty.architectures.gpt import GptModel
from thrifty.architectures.resnet import PLANS, ResnetModel
from thrifty.architectures.vit import VitModel
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.pruners.targets import find_targets

ALL = ["embeddings", "norms", "biases", "head"]


def mlp() -> nn.Sequential:
    layers = {"hidden1": nn.Linear(4, 8), "norm": nn.LayerNorm(8), "hidden2": nn.Linear(8, 6), "output": nn.Linear(6, 3)}
    model = nn.Sequential()
    for name, one in layers.items():
        model.add_module(name, one)
    return model


def gpt() -> GptModel:
    return GptModel(vocabulary=50, context=8, width=64, depth=2, dropout=0.0)


def test_of_an_mlp_all_but_the_head_and_the_vectors() -> None:
    targets = find_targets(mlp(), ALL)
    assert list(targets.weights) == ["hidden1.weight", "hidden2.weight"]
    assert targets.total == 32 + 48
    assert targets.protected == {
        "norms": {"norm.weight": 8, "norm.bias": 8},
        "biases": {"hidden1.bias": 8, "hidden2.bias": 6, "output.bias": 3},
        "head": {"output.weight": 18},
    }


def test_the_sentence_counts() -> None:
    assert find_targets(mlp(), ALL).protected_sentence == (
        "pruned: 2 of 8 weight tensors, 61.1 % of the parameters; left whole: norms (2 tensors, 16 weights), "
        "biases (3 tensors, 17 weights), head (1 tensor, 18 weights)"
    )
    assert find_targets(mlp(), []).protected_sentence.endswith("100.0 % of the parameters; left whole: nothing")


def test_a_kind_left_out_is_pruned_as_well() -> None:
    assert set(find_targets(mlp(), []).weights) == {name for name, _ in mlp().named_parameters()}
    without_head = find_targets(mlp(), ["norms", "biases", "embeddings"])
    assert list(without_head.weights) == ["hidden1.weight", "hidden2.weight", "output.weight"]
    # A norm's bias is a bias as well.
    assert set(find_targets(mlp(), ["biases"]).protected["biases"]) == {
        "hidden1.bias", "norm.bias", "hidden2.bias", "output.bias",
    }  # fmt: skip
    assert list(find_targets(gpt(), ["norms", "biases"]).weights)[:2] == ["tokens.weight", "positions.weight"]


def test_of_a_gpt_whose_outputs_are_its_embedding_every_layer_is_pruned() -> None:
    targets = find_targets(gpt(), ALL)
    layers = ("attention.qkv", "attention.projection", "feed_forward.expansion", "feed_forward.projection")
    assert list(targets.weights) == [f"blocks.{block}.{layer}.weight" for block in range(2) for layer in layers]
    assert targets.protected["embeddings"] == {"tokens.weight": 50 * 64, "positions.weight": 8 * 64}
    assert "head" not in targets.protected


def test_of_a_vit_the_patch_embedding_is_an_embedding() -> None:
    targets = find_targets(VitModel((1, 8, 8), 10, patch=2, width=64, depth=1, dropout=0.0), ALL)
    assert set(targets.protected["embeddings"]) == {"embedding.weight", "embedding.bias", "positions.weight"}
    assert "head.weight" in targets.protected["head"]
    assert all(name.startswith("blocks.") for name in targets.weights)


def test_of_a_resnet_the_stem_and_the_shortcuts_are_pruned() -> None:
    targets = find_targets(ResnetModel((3, 16, 16), 10, PLANS[8], False, 0.0, False), ALL)
    assert next(iter(targets.weights)) == "stem.conv.weight"
    assert "stages.1.0.shortcut.0.weight" in targets.weights
    assert len(targets.weights) == 1 + 3 * 2 + 2
    assert "embeddings" not in targets.protected


def test_a_head_by_its_place_where_its_name_says_nothing() -> None:
    assert list(find_targets(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), ALL).weights) == ["0.weight"]
    assert list(find_targets(nn.Sequential(nn.Linear(4, 4)), ALL).weights) == ["0.weight"]


def test_names_and_patterns() -> None:
    assert list(find_targets(mlp(), [*ALL, "hidden1"]).weights) == ["hidden2.weight"]
    assert find_targets(mlp(), [*ALL, "hidden1"]).protected["hidden1"] == {"hidden1.weight": 32}
    assert all(name.startswith("blocks.1.") for name in find_targets(gpt(), [*ALL, "blocks.0.*"]).weights)
    assert all(name.startswith("blocks.1.") for name in find_targets(gpt(), [*ALL, "blocks.0"]).weights)
    assert len(find_targets(gpt(), [*ALL, "*.qkv.weight"]).weights) == 6


def test_a_name_that_matches_nothing_is_told_with_the_nearest() -> None:
    with pytest.raises(BadConfiguration, match=r"'hiden1' is no layer .* did you mean 'hidden1'\?"):
        find_targets(mlp(), [*ALL, "hiden1"])
    with pytest.raises(BadConfiguration, match=r"did you mean 'biases'\?"):
        find_targets(mlp(), ["bias_es"])


def test_nothing_to_prune() -> None:
    with pytest.raises(Unsupported, match="nothing of the model is left to prune"):
        find_targets(nn.Sequential(nn.LayerNorm(4)), ALL)
    with pytest.raises(Unsupported, match=r"pruner.protect=\[\*\]"):
        find_targets(mlp(), ["*"])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 6)
        self.b.weight = self.a.weight
        self.lm_head = nn.Linear(4, 10, bias=False)
        self.lm_head.weight = self.words.weight


def test_a_tied_weight_counts_once_and_is_protected_under_any_name() -> None:
    model = Tied()
    targets = find_targets(model, ALL)
    assert list(targets.weights) == ["a.weight", "c.weight"]
    assert targets.users["a.weight"] == [model.a, model.b]
    assert targets.protected["embeddings"] == {"words.weight": 40}
    assert targets.total == 16 + 24
    # Without its kind, an embedding that is the head as well stays whole as that.
    assert find_targets(model, ["norms", "biases", "head"]).protected["head"] == {"words.weight": 40}
    # The second name protects what goes by the first.
    assert list(find_targets(model, [*ALL, "b"]).weights) == ["c.weight"]


def test_parameters_of_no_kind_stay_whole() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model.register_parameter("temperature", nn.Parameter(torch.ones(3)))
    assert find_targets(model, []).protected == {"other parameters": {"temperature": 3}}


def test_shapes_are_enough() -> None:
    with torch.device("meta"):
        model = mlp()
    assert find_targets(model, ALL).total == 80
    assert cast(nn.Linear, model[0]).weight.is_meta
