"""method=quantize from a dense model to a record: what must hold of every scheme and file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import CPU, Made, make
from small_training import undisturbed
from torch import nn

from conftest import QUIET
from thrifty.config.compose import compose, plain
from thrifty.config.registry import CHOICES
from thrifty.errors import BadConfiguration, BadData, Unsupported
from thrifty.execution.beginning import Beginning
from thrifty.execution.lean import LeanMeasurement, LeanProcess, LeanTask
from thrifty.formats.safetensors import tensors_of
from thrifty.layers.quantized import quantized_layers
from thrifty.measure.loss_bound import QualityLoss
from thrifty.methods.evaluate import predictor
from thrifty.methods.model import example_inputs, load_trained
from thrifty.methods.monitor import Trace
from thrifty.methods.quantize import QuantizeMethod
from thrifty.methods.train import TrainMethod
from thrifty.stop import StopRequest

MLP = ("task=image", "architecture=mlp", "architecture.widths=[128,64]", "optimizer=adam", "optimizer.lr=3e-3")
VIT = ("task=image", "architecture=vit", "architecture.width=128", "architecture.depth=2", "budget.steps=60")
RESNET = ("task=image", "architecture=resnet", "architecture.depth=8", "budget.steps=60")
CPU_SCHEMES = sorted(name for name in CHOICES["quantizer"] if not name.startswith("fp8"))
POST_TRAINING = [name for name in CPU_SCHEMES if not name.startswith("qat")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def mlp(store: Path) -> Made:
    return make(store, *MLP)


@pytest.fixture(scope="module")
def vit(store: Path) -> Made:
    return make(store, *VIT)


@pytest.fixture(scope="module")
def resnet(store: Path) -> Made:
    return make(store, *RESNET)


def quantised(dense: Made, typed: tuple[str, ...], *overrides: str) -> Made:
    return make(dense.path.parents[1], *typed, "method=quantize", *overrides, origin=dense.path)


def outputs(made: Made) -> torch.Tensor:
    trained = load_trained(made.path, CPU, made.record["config_hash"])
    from thrifty.methods.model import architecture_of

    inputs = example_inputs(architecture_of(trained.manifest), trained.manifest["shape"], 3)
    return predictor(trained.module, trained.precision, CPU)(inputs)


@pytest.mark.parametrize("name", POST_TRAINING)
def test_it_keeps_its_quality_and_says_how_much_it_converted(name: str, mlp: Made) -> None:
    made = quantised(mlp, MLP, f"quantizer={name}")
    assert made.record["status"] == "ok"
    assert made.record["parents"] == [mlp.record["id"]]
    of = made.record["metrics"]["size/converted_modules"]
    assert (of["value"], of["n"]) == (len(quantized_layers(made.model)), 3)
    assert made.metric("quality/accuracy") >= mlp.metric("quality/accuracy") - 0.03
    assert made.metric("train/steps") == 0
    assert made.metric("compress/time_s") > 0
    assert any(f"quantised: {of['value']} of 3 layers" in one for one in made.record["data"]["about"])


@pytest.mark.parametrize("name", POST_TRAINING)
def test_a_loaded_file_predicts_what_the_model_did_to_the_bit(name: str, mlp: Made) -> None:
    class Remembering(QuantizeMethod):
        def _save(self, model: nn.Module) -> None:
            super()._save(model)
            inputs = example_inputs(self.config.architecture, self.data.shape, 3)
            self.told = predictor(model, self.precision, CPU)(inputs)
            kept.append(self.told)

    kept: list[torch.Tensor] = []
    made = make(mlp.path.parents[1], *MLP, "method=quantize", f"quantizer={name}", origin=mlp.path, kind=Remembering)
    assert torch.equal(outputs(made), kept[0])


@pytest.mark.parametrize("name", POST_TRAINING)
def test_a_file_taken_over_to_predict_in_another_precision_is_the_same_file(name: str, mlp: Made) -> None:
    made = quantised(mlp, MLP, f"quantizer={name}")
    bf16 = plain(compose([*MLP, "precision=bf16"]).precision)
    read = [load_trained(made.path, CPU, executed_in=executed).module for executed in (None, bf16)]
    first, second = map(tensors_of, read)
    assert first.keys() == second.keys()
    for tensor, other in zip(first.values(), second.values(), strict=True):
        assert tensor.dtype == other.dtype
        assert torch.equal(tensor, other)


def test_eight_bits_take_a_quarter_of_the_bytes_of_what_is_converted(vit: Made) -> None:
    made = quantised(vit, VIT, "quantizer=int8_weight")
    dense, small = vit.model.state_dict(), made.path / "model.safetensors"
    names = json.loads((made.path / "model.json").read_text())["quantized"]["layers"]
    converted = sum(dense[f"{name}.weight"].nbytes for name in names)
    others = sum(one.nbytes for one in dense.values()) - converted
    scales = sum(dense[f"{name}.weight"].shape[0] * 4 for name in names)
    assert converted / 4 + others + scales == pytest.approx(small.stat().st_size, rel=0.03)
    assert made.metric("size/file_mib") < 0.35 * vit.metric("size/file_mib")
    assert made.metric("size/parameters") == vit.metric("size/parameters")


def test_convolutions_are_quantised_by_static_scales(resnet: Made) -> None:
    made = quantised(resnet, RESNET, "quantizer=int8_static")
    kinds = {type(one).__name__ for one in made.model.modules()}
    assert {"StaticConv2d", "StaticLinear"} <= kinds
    assert made.metric("quality/accuracy") >= resnet.metric("quality/accuracy") - 0.05
    assert any("128 training examples" in one for one in made.record["data"]["about"])


def test_a_scheme_for_linear_layers_tells_how_few_of_a_resnet_it_takes(resnet: Made) -> None:
    made = quantised(resnet, RESNET, "quantizer=int8_dynamic")
    assert made.record["metrics"]["size/converted_modules"]["value"] == 1
    assert any("convolution" in one for one in made.record["data"]["about"])


def test_nothing_to_convert_is_unsupported(mlp: Made) -> None:
    with pytest.raises(Unsupported, match="no layer of the model can be converted"):
        quantised(mlp, MLP, "quantizer=int8_dynamic", "quantizer.keep=['*']")


@pytest.mark.parametrize(
    ("typed", "error", "says"),
    [
        (("quantizer=fp8_weight",), Unsupported, "needs a GPU"),
        (("quantizer.keep=[nothing]",), BadConfiguration, "no layer is called 'nothing'"),
        (("quantizer=int8_static", "method.calibration=100000"), BadData, "the training split has"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    typed: tuple[str, ...], error: type[Exception], says: str, mlp: Made
) -> None:
    before = set(mlp.path.parent.iterdir())
    with pytest.raises(error, match=says):
        quantised(mlp, MLP, *typed)
    assert set(mlp.path.parent.iterdir()) == before


def test_a_quantised_model_is_no_beginning(mlp: Made) -> None:
    made = quantised(mlp, MLP, "quantizer=int8_weight")
    with pytest.raises(BadConfiguration, match=f"holds a quantised model.*checkpoint={mlp.record['id']}"):
        make(mlp.path.parents[1], *MLP, "method=quantize", origin=made.path)


def test_a_pruned_model_stays_pruned(mlp: Made) -> None:
    masked = make(mlp.path.parents[1], *MLP, "method=prune", "sparsity=0.8", origin=mlp.path)
    made = quantised(masked, MLP, "quantizer=int8_dynamic")
    assert made.metric("size/nonzero") <= masked.metric("size/nonzero")
    assert made.metric("size/nonzero") >= 0.9 * masked.metric("size/nonzero")


def test_a_smaller_model_keeps_its_form(vit: Made) -> None:
    smaller = make(vit.path.parents[1], *VIT, "method=prune", "pruner=layer_drop", "sparsity=0.5", origin=vit.path)
    made = quantised(smaller, VIT, "quantizer=int8_static")
    assert made.metric("size/parameters") == smaller.metric("size/parameters")
    assert len(quantized_layers(made.model)) < len(quantized_layers(quantised(vit, VIT, "quantizer=int8_static").model))


@pytest.mark.parametrize("name", ["qat_int8", pytest.param("qat_int4", marks=pytest.mark.slow)])
def test_training_with_rounded_numbers_is_counted_to_the_method(name: str, vit: Made) -> None:
    made = quantised(vit, VIT, f"quantizer={name}")
    assert made.metric("train/steps") == 30
    assert made.metric("compress/time_s") >= made.metric("train/time_s")
    assert len(quantized_layers(made.model)) > 0


@pytest.mark.slow
def test_four_bits_are_no_worse_after_training_with_them(vit: Made) -> None:
    def loss(name: str) -> float:
        made = quantised(vit, VIT, f"quantizer={name}", "quantizer.group=128")
        return made.metric("validation/loss")

    assert loss("qat_int4") <= loss("int4_weight")


@pytest.mark.slow
def test_the_bound_spares_the_layers_that_cost_most(vit: Made) -> None:
    made = quantised(vit, VIT, "quantizer=int4_weight", "quantizer.group=128", "max_quality_loss=0")
    tried = made.record["choice"]
    assert tried[0]["spared"] == []
    assert min(one["loss"] for one in tried) <= 0
    converted = json.loads((made.path / "model.json").read_text())["quantized"]["layers"]
    best = min((one for one in tried if one["loss"] <= 0), key=lambda one: len(one["spared"]))
    assert not set(converted) & set(best["spared"])


def test_the_bound_of_both_steps_is_on_what_both_lose(mlp: Made) -> None:
    pruning = ("pruner=magnitude", "sparsity=0.98", "method.finetune=0")
    pruned = make(mlp.path.parents[1], *MLP, "method=prune", *pruning, origin=mlp.path)
    both = ("method=prune_quantize", *pruning[:2], "quantizer=int8_weight", "max_quality_loss=0.5")
    made = make(mlp.path.parents[1], *MLP, *both, origin=pruned.path)
    lost = 100 * (mlp.metric("validation/accuracy") - made.metric("validation/accuracy"))
    assert lost > 1
    assert [one["loss"] for one in made.record["choice"]] == [pytest.approx(lost, abs=1e-6)]
    assert "bound_not_met" in made.record["flags"]
    assert any("points were lost before any was quantised" in one for one in made.record["data"]["about"])


@pytest.mark.parametrize("weights", ["bf16", "fp32"])
def test_the_bound_of_both_steps_whatever_the_dense_model_computed_in(mlp: Made, weights: str, tmp_path: Path) -> None:
    store, dense = tmp_path, make(tmp_path, *MLP, "precision=bf16", f"precision.weights={weights}")
    pruned = make(store, *MLP, "method=prune", "sparsity=0.5", "method.finetune=0", origin=dense.path)
    both = ("method=prune_quantize", "sparsity=0.5", "quantizer=int8_weight", "max_quality_loss=90")
    made = make(store, *MLP, *both, origin=pruned.path)
    assert made.record["choice"][0]["loss"] < 90
    shutil.rmtree(dense.path)
    alone = make(store, *MLP, *both, "name=again", origin=pruned.path)
    assert any("the dense model is not to be had" in one for one in alone.record["data"]["about"])


def test_the_bound_of_a_training_with_rounded_numbers_is_on_what_it_lost_too(
    mlp: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a training that spoils the model: sparing layers of what came out of it would help nobody."""

    def spoiled(self: QuantizeMethod, model: nn.Module) -> tuple[Trace, nn.Module]:
        with torch.no_grad():
            for one in model.parameters():
                one.mul_(0.01)
        return self._without_training(model)

    monkeypatch.setattr(QuantizeMethod, "_train", spoiled)
    made = quantised(mlp, MLP, "quantizer=qat_int8", "max_quality_loss=0.5")
    assert made.record["choice"][0]["loss"] > 1
    assert "bound_not_met" in made.record["flags"]


def test_each_layer_alone_is_told_where_asked(mlp: Made) -> None:
    rows: list[dict[str, Any]] = quantised(mlp, MLP, "quantizer=int8_dynamic", "method.sensitivity=true").record["sensitivity"]
    assert len(rows) == 3
    assert all(np.isfinite(one["difference"]) for one in rows)


def test_settings_of_the_compiler_do_not_leak(mlp: Made) -> None:
    import torch._inductor.config as inductor

    quantised(mlp, MLP, "quantizer=int8_static")  # its passes are registered once a process
    before = inductor.save_config()
    for name in POST_TRAINING:
        quantised(mlp, MLP, f"quantizer={name}", "seed=1")
    assert inductor.save_config() == before


def test_a_dense_model_is_as_it_was_after_a_quantised_one(mlp: Made) -> None:
    before = outputs(mlp)
    quantised(mlp, MLP, "quantizer=int8_static")
    assert torch.equal(outputs(mlp), before)


def test_a_fresh_process_loads_it(mlp: Made) -> None:
    made = quantised(mlp, MLP, "quantizer=int8_weight")
    with LeanProcess() as process:
        found = process.measure(LeanTask(str(made.path), config_hash=made.record["config_hash"]))
    assert isinstance(found, LeanMeasurement), found


def test_a_rank_that_follows_trains_with_rounded_numbers_too(vit: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def watched(self: QuantizeMethod, model: nn.Module) -> tuple[Trace, nn.Module]:
        seen.append(all("forward" in model.get_submodule(name).__dict__ for name in self.layers))
        return Trace(), model

    typed = [*VIT, "method=quantize", "quantizer=qat_int8", f"store={vit.path.parents[1]}"]
    method = QuantizeMethod(compose([*QUIET, *typed]), CPU, lambda event: None, StopRequest())
    monkeypatch.setattr(TrainMethod, "_train", watched)
    with undisturbed():
        method.prepare((), Beginning(origin=vit.path))
        method.follow()
    assert seen == [True]


@pytest.mark.parametrize("when", ["sensitivity: ", "evaluating with 1 "])
def test_a_stop_while_layers_are_chosen_ends_the_run_there(when: str, mlp: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is left to evaluate, and nothing is told of a choice that was not made."""
    stop, told = StopRequest(), []

    class Stopping(QuantizeMethod):
        def __init__(self, *given: Any) -> None:
            super().__init__(given[0], given[1], hear, stop)

    def hear(event: Any) -> None:
        told.append(str(getattr(event, "what", event)))
        if when in told[-1]:
            stop.reason = "terminated"

    typed = (*MLP, "method=quantize", "quantizer=int8_weight", "max_quality_loss=0.001", "method.sensitivity=true")
    # Every layer costs too much, so that some have to be spared.
    monkeypatch.setattr(
        "thrifty.methods.quantize.loss_between", lambda data, dense, scores: QualityLoss(1.0, 0.5, 1.5, len(dense["loss"]))
    )
    made = make(mlp.path.parents[1], *typed, origin=mlp.path, kind=Stopping)
    assert made.record["status"] == "preempted"
    assert "choice" not in made.record
    places = [place for place, one in enumerate(told) if when in one]
    assert len(places) == 1
    assert not any("evaluating" in one for one in told[places[0] + 1 :])
