"""A smaller model is built again by its form alone, and no other JSON does harm."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import thrifty
from chosen import chosen
from thrifty.architectures import gpt, resnet, vit
from thrifty.architectures.shapes_only import shapes_only
from thrifty.config.registry import load
from thrifty.formats import safetensors
from thrifty.pruners.blocks import block_lists, keep_blocks
from thrifty.pruners.form import form_of, given_form

IMAGES = {"channels": 1, "height": 8, "width": 8, "outputs": 3}
EXAMPLE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def full() -> nn.Module:
    torch.manual_seed(0)
    return vit.build(chosen("architecture=vit", width=128, depth=3), IMAGES, 0.0).eval()


def smaller() -> nn.Module:
    return load("pruner", "structured_l1")(chosen("pruner=structured_l1")).shrink(full(), 0.5, EXAMPLE)


def test_a_form_says_every_size() -> None:
    model = gpt.build(chosen("architecture=gpt", width=64, depth=1), {"vocabulary": 7, "context": 5}, 0.0)
    norm = {"normalized_shape": [64]}
    block = {
        "attention_norm": norm,
        "attention.qkv": {"in_features": 64, "out_features": 192},
        "attention.projection": {"in_features": 64, "out_features": 64},
        "feed_forward_norm": norm,
        "feed_forward.expansion": {"in_features": 64, "out_features": 256},
        "feed_forward.projection": {"in_features": 256, "out_features": 64},
    }
    assert form_of(model) == {
        "blocks": {},
        "layers": {
            "tokens": {"num_embeddings": 7, "embedding_dim": 64},
            "positions": {"num_embeddings": 5, "embedding_dim": 64},
            **{f"blocks.0.{name}": sizes for name, sizes in block.items()},
            "norm": norm,
        },
    }
    convolutional = form_of(resnet.build(chosen("architecture=resnet", depth=8), IMAGES, 0.0))["layers"]
    assert convolutional["stages.1.0.conv1"] == {"in_channels": 16, "out_channels": 32, "groups": 1}
    assert convolutional["stages.1.0.norm1"] == {"num_features": 32}


@pytest.mark.parametrize("on_meta", [True, False])
def test_a_saved_model_is_loaded_to_the_bit(tmp_path: Path, on_meta: bool) -> None:
    made = smaller()
    safetensors.save(tmp_path, made, {"form": form_of(made)})
    manifest = safetensors.read_manifest(tmp_path)
    if on_meta:
        with shapes_only():
            again = vit.build(chosen("architecture=vit", width=128, depth=3), IMAGES, 0.0)
    else:
        again = full()
    again = given_form(again, manifest["form"])
    safetensors.load(tmp_path, manifest, again, torch.device("cpu"))
    with torch.no_grad():
        assert torch.equal(again.eval()(EXAMPLE), made(EXAMPLE))


def test_loading_takes_no_torch_pruning(tmp_path: Path) -> None:
    """In a process of its own, where it cannot even be imported."""
    made = smaller()
    torch.save(
        {"form": form_of(made), "state": made.state_dict(), "example": EXAMPLE, "outputs": made(EXAMPLE)}, tmp_path / "all"
    )
    program = """
import sys, torch
sys.modules["torch_pruning"] = None
from chosen import chosen
from thrifty.architectures import vit
from thrifty.pruners.form import given_form
held = torch.load(sys.argv[1])
model = vit.build(chosen("architecture=vit", width=128, depth=3), {"channels": 1, "height": 8, "width": 8, "outputs": 3}, 0.0)
given_form(model, held["form"]).load_state_dict(held["state"])
assert torch.equal(model.eval()(held["example"]), held["outputs"])
print("the same")
"""
    paths = [str(Path(thrifty.__file__).parents[1]), str(Path(__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "all")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "the same\n", done.stderr


def test_layers_that_stay_keep_their_weights() -> None:
    model, before = full(), full()
    form = form_of(model)
    form["layers"]["blocks.1.feed_forward.expansion"]["out_features"] = 10
    form["layers"]["blocks.1.feed_forward.projection"]["in_features"] = 10
    assert given_form(model, form) is model
    changed = {name for name, one in model.named_parameters() if one.shape != before.get_parameter(name).shape}
    assert changed == {f"blocks.1.feed_forward.{name}" for name in ("expansion.weight", "expansion.bias", "projection.weight")}
    for name, one in model.named_parameters():
        assert name in changed or torch.equal(one, before.get_parameter(name))


def test_blocks_are_known_by_their_first_numbers() -> None:
    model = resnet.build(chosen("architecture=resnet", depth=20), IMAGES, 0.0)
    dense = copy.deepcopy(model)
    stage = block_lists(model)["stages.1"]
    keep_blocks(stage, [0, 2])
    assert form_of(model)["blocks"] == {"stages.1": [0, 2]}
    again = given_form(copy.deepcopy(dense), form_of(model))
    assert torch.equal(again.get_parameter("stages.1.1.conv1.weight"), dense.get_parameter("stages.1.2.conv1.weight"))
    keep_blocks(stage, [1])
    assert form_of(model)["blocks"] == {"stages.1": [2]}, "as the full model counts, however often blocks were dropped"
    assert form_of(given_form(dense, form_of(model))) == form_of(model)


def altered(path: str, value: Any) -> Any:
    """The form of the full model with one thing changed."""
    form = form_of(full())
    *keys, last = path.split("/")
    inner = form
    for key in keys:
        inner = inner[key]
    inner[last] = value
    return form


LAYER = "layers/blocks.0.feed_forward.expansion"
HOSTILE = {
    "no object": [],
    "nothing": {},
    "none": None,
    "too much": {"blocks": {}, "layers": {}, "code": "import os"},
    "layers: a list": {"blocks": {}, "layers": []},
    "blocks: a number": {"blocks": 3, "layers": {}},
    "an unknown layer": altered("layers/blocks.9.norm", {"normalized_shape": [4]}),
    "the model itself": altered("layers/", {"in_features": 1, "out_features": 1}),
    "a module without weights": altered("layers/dropout", {"in_features": 1, "out_features": 1}),
    "a module without sizes": altered("layers/blocks.0.attention", {"in_features": 1, "out_features": 1}),
    "sizes: none": altered(LAYER, None),
    "sizes: one": altered(LAYER, {"in_features": 128}),
    "sizes: others": altered(LAYER, {"in_channels": 128, "out_channels": 2, "groups": 1}),
    "negative": altered(f"{LAYER}/out_features", -1),
    "zero": altered(f"{LAYER}/out_features", 0),
    "larger": altered(f"{LAYER}/out_features", 513),
    "huge": altered(f"{LAYER}/out_features", 10**30),
    "a fraction": altered(f"{LAYER}/out_features", 2.5),
    "infinite": altered(f"{LAYER}/out_features", float("inf")),
    "true": altered(f"{LAYER}/out_features", True),
    "text": altered(f"{LAYER}/out_features", "9\n9" * 1000),
    "a list": altered(f"{LAYER}/out_features", [9]),
    "a norm's number": altered("layers/norm/normalized_shape", 128),
    "a norm of two": altered("layers/norm/normalized_shape", [128, 1]),
    "part of a head": altered("layers/blocks.0.attention.qkv/out_features", 191),
    "a head for one only": altered("layers/blocks.0.attention.qkv/out_features", 192),
    "blocks of what has none": altered("blocks/norm", [0]),
    "blocks of nothing": altered("blocks/", [0]),
    "blocks: text": altered("blocks/blocks", "01"),
    "blocks: true": altered("blocks/blocks", [False, True]),
    "blocks: beyond": altered("blocks/blocks", [0, 3]),
    "blocks: from behind": altered("blocks/blocks", [-1]),
    "blocks: twice": altered("blocks/blocks", [0, 0, 1]),
    "blocks: backwards": altered("blocks/blocks", [1, 0]),
    "blocks: lists": altered("blocks/blocks", [[0]]),
}


@pytest.mark.parametrize("form", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_form_is_refused_in_one_line(form: Any) -> None:
    with shapes_only():
        model = vit.build(chosen("architecture=vit", width=128, depth=3), IMAGES, 0.0)
    with pytest.raises(ValueError, match=r"^form: ") as refused:
        given_form(model, json.loads(json.dumps(form)))
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 200


def test_groups_divide_the_channels() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2))
    form = form_of(model)
    form["layers"]["0"].update(in_channels=2, out_channels=6)
    assert given_form(copy.deepcopy(model), form).get_parameter("0.weight").shape == (6, 1, 3, 3)
    form["layers"]["0"]["in_channels"] = 3
    with pytest.raises(ValueError, match="groups=2 does not divide its channels"):
        given_form(model, form)
