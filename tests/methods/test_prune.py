"""method=prune from a dense model to a record: what must hold of every pruner, pace and file."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import Made, make
from small_training import undisturbed
from torch import Tensor, nn

from conftest import QUIET
from thrifty.config.compose import compose
from thrifty.config.registry import CHOICES
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration, BadData, ThriftyError, Unsupported
from thrifty.measure.paired_quality import accuracy_difference
from thrifty.methods.model import load_trained
from thrifty.methods.prune import PruneMethod
from thrifty.methods.pruning import by_rounds
from thrifty.methods.train import TrainMethod
from thrifty.pruners.base import Masks
from thrifty.pruners.masking import Masking
from thrifty.pruners.targets import find_targets
from thrifty.stop import StopRequest

CPU = torch.device("cpu")
LENET = ("task=image", "architecture=mlp", "architecture.widths=[300,100]", "optimizer=adam", "optimizer.lr=3e-3")
"""LeNet-300-100, on the digits."""
VIT = ("task=image", "architecture=vit", "architecture.width=128", "architecture.depth=3", "budget.steps=60")
SHORT = ("budget.steps=40",)


@cache
def composed(*overrides: str) -> Config:
    return compose([*QUIET, *overrides])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def lenet(store: Path) -> Made:
    """Trained for as long as the task's default has it."""
    return make(store, *LENET)


@pytest.fixture(scope="module")
def vit(store: Path) -> Made:
    return make(store, *VIT)


def pruned(dense: Made, typed: tuple[str, ...], *overrides: str, kind: type[PruneMethod] = PruneMethod) -> Made:
    return make(dense.path.parents[1], *typed, "method=prune", *overrides, origin=dense.path, kind=kind)


def masks_of(model: nn.Module) -> Masks:
    protect = compose(["method=prune"]).pruner.protect  # pyright: ignore[reportOptionalMemberAccess]
    return {name: one.detach() != 0 for name, one in find_targets(model, protect).weights.items()}


def gone(made: Made) -> tuple[int, int]:
    """Weights open to the pruner that are zero, of all."""
    masks = masks_of(made.model)
    return sum(int((~one).sum()) for one in masks.values()), sum(one.numel() for one in masks.values())


MASKING = [name for name, choice in CHOICES["pruner"].items() if not getattr(choice.schema, "PHYSICAL")]  # noqa: B009


@pytest.mark.parametrize("pruner", MASKING)
def test_as_many_weights_are_zero_at_the_end_as_were_asked_for(vit: Made, pruner: str) -> None:
    pace = ("method.pace=gradual",) if pruner == "movement" else ()
    made = pruned(vit, VIT, f"pruner={pruner}", "sparsity=0.75", *pace)
    zeros, of = gone(made)
    assert zeros == round(0.75 * of)
    assert made.record["status"] == "ok"
    assert made.metric("compress/sparsity") == pytest.approx(0.75, abs=1 / of)
    assert made.metric("size/parameters") == vit.metric("size/parameters")
    assert made.record["parents"] == [vit.record["id"]]
    assert made.metric("train/steps") == 30  # half of the dense training's
    assert made.metric("compress/time_s") >= made.metric("train/time_s")


@pytest.mark.parametrize("pace", ["one_shot", "iterative", "gradual"])
def test_every_pace_ends_at_the_sparsity_asked_for_and_trains_as_long(lenet: Made, pace: str) -> None:
    made = pruned(
        lenet, LENET, "sparsity=0.9", f"method.pace={pace}", "budget.steps=60", "budget.epochs=null", "method.finetune=1"
    )
    zeros, of = gone(made)
    assert zeros == round(0.9 * of)
    assert made.metric("train/steps") == 60


def test_a_file_of_zeros_is_as_large_as_any_other(lenet: Made) -> None:
    made = pruned(
        lenet, LENET, "sparsity=0.9", "method.finetune=0", "measure=quick", "measure.seconds=0.05", "measure.processes=0"
    )
    assert made.metric("size/file_mib") / lenet.metric("size/file_mib") == pytest.approx(1.0, abs=0.005)
    # 19,200 + 30,000 weights at a bit each and a tenth of them at 32, and 1,410 numbers that are protected.
    names_and_shapes = made.metric("size/file_sparse_mib") * 2**20 - (49_200 * (1 / 8 + 0.4) + 4 * 1_410)
    assert 0 < names_and_shapes < 2048
    assert made.metric("size/file_zstd_mib") < 0.3 * made.metric("size/file_mib")
    assert made.metric("train/steps") == 0
    assert made.record["metrics"]["train/step_ms"]["value"] is None


def test_the_file_without_zeros_stands_in_for_the_other(lenet: Made, tmp_path: Path) -> None:
    made = pruned(lenet, LENET, "sparsity=0.9", "method.finetune=0")
    copy = Path(shutil.copytree(made.path, tmp_path / made.path.name))
    (copy / "model.safetensors").unlink()
    whole, sparse = made.model.state_dict(), load_trained(copy, CPU).module.state_dict()
    assert list(whole) == list(sparse)
    assert all(torch.equal(whole[name], sparse[name]) for name in whole)
    content = bytearray((copy / "model.sparse.safetensors").read_bytes())
    content[-3] ^= 1
    (copy / "model.sparse.safetensors").write_bytes(bytes(content))
    with pytest.raises(BadData, match="altered"):
        load_trained(copy, CPU)


def test_no_weight_that_is_gone_comes_back_while_training(lenet: Made) -> None:
    before = pruned(lenet, LENET, *SHORT, "budget.epochs=null", "sparsity=0.9", "method.finetune=0")
    after = pruned(lenet, LENET, *SHORT, "budget.epochs=null", "sparsity=0.9", "method.finetune=1", "optimizer.lr=0.02")
    for name, mask in masks_of(before.model).items():
        weight = after.model.get_parameter(name)
        assert torch.equal(weight == 0, ~mask)
        assert not torch.equal(weight[mask], before.model.get_parameter(name)[mask])
        assert not torch.signbit(weight[~mask]).any()


@pytest.mark.parametrize("name", ["structured_l1", "structured_taylor", "layer_drop"])
def test_what_is_cut_is_smaller_and_is_read_back_as_it_is(vit: Made, name: str) -> None:
    made = pruned(vit, VIT, f"pruner={name}", "sparsity=0.5")
    manifest = json.loads((made.path / "model.json").read_text())
    assert manifest["form"]
    assert made.metric("size/parameters") < 0.7 * vit.metric("size/parameters")
    assert made.metric("size/nonzero") == made.metric("size/parameters")
    assert made.metric("compress/sparsity") == pytest.approx(0.5, abs=0.17)
    assert sum(one.numel() for one in made.model.parameters()) == made.metric("size/parameters")
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert made.model(images).isfinite().all()


def test_operations_are_cut_to_the_share_asked_for(vit: Made) -> None:
    quick = ("measure=quick", "measure.seconds=0.05", "measure.processes=0", "method.finetune=0")
    whole = pruned(vit, VIT, "sparsity=0", *quick)
    made = pruned(vit, VIT, "pruner=structured_l1", "pruner.counts=flops", "sparsity=0.5", *quick)
    assert made.metric("infer/flops_per_sample") / whole.metric("infer/flops_per_sample") == pytest.approx(0.5, abs=0.02)
    assert made.metric("infer/nonzero_flops_per_sample") == made.metric("infer/flops_per_sample")
    masked = pruned(vit, VIT, "sparsity=0.9", *quick)
    assert masked.metric("infer/flops_per_sample") == whole.metric("infer/flops_per_sample")
    assert masked.metric("infer/nonzero_flops_per_sample") < 0.2 * whole.metric("infer/flops_per_sample")


def test_a_pruned_run_is_where_another_may_begin(vit: Made) -> None:
    smaller = pruned(vit, VIT, "pruner=structured_l1", "sparsity=0.5", "method.finetune=0")
    again = pruned(smaller, VIT, "pruner=magnitude", "sparsity=0.5", "method.finetune=0")
    zeros, of = gone(again)
    assert zeros == round(0.5 * of)
    assert again.metric("size/parameters") == smaller.metric("size/parameters")
    trained_on = make(vit.path.parents[1], *VIT, f"checkpoint={smaller.path}")
    assert trained_on.metric("size/parameters") == smaller.metric("size/parameters")


class Accuracies:
    """Right answers on the test split of several seeds' runs, dense models included, made once."""

    def __init__(self, store: Path) -> None:
        self.store, self.dense = store, {}

    def __call__(self, *overrides: str, kind: type[PruneMethod] = PruneMethod, seeds: int = 3) -> np.ndarray:
        found = []
        for seed in range(seeds):
            typed = (*LENET, f"seed={seed}")
            if seed not in self.dense:
                self.dense[seed] = make(self.store, *typed)
            found.append(pruned(self.dense[seed], typed, *overrides, kind=kind).correct)
        return np.concatenate(found)


@pytest.fixture(scope="module")
def accuracies(store: Path) -> Accuracies:
    return Accuracies(store)


@pytest.mark.slow
def test_chance_loses_clearly_to_magnitude(accuracies: Accuracies) -> None:
    chance, size = (
        accuracies(f"pruner={one}", "sparsity=0.9", "method.finetune=0", "pruner.scope=layer")
        for one in ("random", "magnitude")
    )
    difference = accuracy_difference(chance, size)
    assert difference.differs
    assert difference.difference.value > 0.1
    chance, size = (accuracies(f"pruner={one}", "sparsity=0.97", "method.finetune=0.1") for one in ("random", "magnitude"))
    assert accuracy_difference(chance, size).difference.low > 0  # pyright: ignore[reportOptionalOperand]


@pytest.mark.slow
def test_gradually_is_at_least_as_good_as_at_once(accuracies: Accuracies) -> None:
    at_once, gradually = (
        accuracies("sparsity=0.95", f"method.pace={one}", "method.finetune=1") for one in ("one_shot", "gradual")
    )
    assert accuracy_difference(at_once, gradually).difference.high >= 0  # pyright: ignore[reportOptionalOperand]
    assert gradually.mean() >= at_once.mean() - 0.005


class Reinitialised(PruneMethod):
    """The same mask over other first weights."""

    def _first_weights(self) -> dict[str, Tensor]:
        state = torch.get_rng_state()
        torch.manual_seed(1234)
        other = self._fresh("cpu").state_dict()
        torch.set_rng_state(state)
        return other


def test_a_ticket_is_at_least_as_good_as_the_same_mask_over_other_weights(accuracies: Accuracies) -> None:
    typed = ("sparsity=0.97", "method.rewind=true", "budget.epochs=4")
    drawn, ticket = accuracies(*typed, kind=Reinitialised), accuracies(*typed)
    assert accuracy_difference(drawn, ticket).difference.high >= 0  # pyright: ignore[reportOptionalOperand]
    assert ticket.mean() >= drawn.mean()


def test_a_ticket_begins_with_the_dense_model_s_first_weights(lenet: Made) -> None:
    class Untrained(PruneMethod):
        def _train(self, model: nn.Module) -> Any:
            self.steps = 0
            return super()._train(model)

    made = pruned(lenet, LENET, "sparsity=0.8", "method.rewind=true", kind=Untrained)
    with undisturbed():
        torch.manual_seed(0)
        config = composed(*LENET)
        from thrifty.methods.model import build_model

        first = build_model(config.architecture, json.loads((lenet.path / "model.json").read_text())["shape"], 0.1)
    weight, before = made.model.get_parameter("hidden1.weight"), first.get_parameter("hidden1.weight")
    kept = weight != 0
    assert 0 < int(kept.sum()) < kept.numel()
    assert torch.equal(weight[kept], before[kept])


def test_lenet_at_han_s_sparsity_loses_nothing_that_could_be_told(lenet: Made) -> None:
    made = pruned(lenet, LENET, "sparsity=0.92", "method.pace=iterative", "method.finetune=1")
    difference = accuracy_difference(lenet.correct, made.correct).difference
    assert difference.high >= 0  # pyright: ignore[reportOptionalOperand]
    assert made.metric("quality/accuracy") > 0.95


def test_auto_finds_the_largest_sparsity_within_the_bound(lenet: Made) -> None:
    made = pruned(lenet, LENET, "sparsity=auto", "max_quality_loss=2", "method.finetune=0.1")
    tried = made.record["search"]
    assert len(tried) <= 12
    within = [one["sparsity"] for one in tried if one["loss"] <= 2]
    over = [one["sparsity"] for one in tried if one["loss"] > 2]
    assert made.metric("compress/sparsity") == pytest.approx(max(within), abs=1e-4)
    assert min(over, default=1.0) - max(within) < 0.011
    assert all(one["n"] == 359 for one in tried)
    sentence = (
        made.record["data"]["about"][-1]
        if "sparsity=auto" in made.record["data"]["about"][-1]
        else "".join(made.record["data"]["about"])
    )
    assert f"{max(within):g} after {len(tried)} evaluations" in sentence
    best = next(one for one in tried if one["sparsity"] == max(within))
    assert ("not_certified" in made.record["flags"]) == (not best["certified"])


def test_a_share_that_cannot_be_made_ends_no_search(vit: Made) -> None:
    # Of three blocks a third and two thirds can go: 0.5 is one or two of them, 0.88 would be all.
    made = pruned(vit, VIT, "pruner=layer_drop", "sparsity=auto", "max_quality_loss=100", "method.finetune=0")
    assert made.record["status"] == "ok"
    assert made.metric("compress/sparsity") == pytest.approx(2 / 3, abs=0.01)
    assert "could not be made" in "".join(made.record["data"]["about"])


def test_what_is_open_to_a_pruner_is_counted_under_the_full_model_s_names(vit: Made) -> None:
    typed = ("pruner=layer_drop", "pruner.which=last", "sparsity=0.5", "method.finetune=0")
    made = pruned(vit, VIT, *typed, "pruner.protect=[embeddings,norms,biases,head,blocks.2]")
    assert made.metric("compress/sparsity") == pytest.approx(0.5, abs=0.01)  # one of the two that are open


def test_what_a_time_cap_leaves_undone_is_pruned_at_the_end(lenet: Made) -> None:
    typed = (*LENET, "budget.epochs=null", "budget.steps=100000", "budget.seconds=0.3")
    made = pruned(lenet, typed, "sparsity=0.9", "method.pace=gradual")
    zeros, of = gone(made)
    assert zeros == round(0.9 * of)
    assert {"budget_reached", "pruning_cut_short"} <= set(made.record["flags"])
    assert len(made.record["flags"]) == len(set(made.record["flags"]))


def test_validation_is_of_the_weights_that_are_kept(lenet: Made) -> None:
    typed = (*LENET, "budget.epochs=null", "budget.steps=60", "train.average=0.9")
    made = pruned(lenet, typed, "sparsity=0.95", "method.pace=iterative")
    with undisturbed():
        method = TrainMethod(composed(*LENET), CPU, lambda event: None, StopRequest())
        method.prepare(())
        inputs, targets = method.data.batch("validation", torch.arange(359))
        right = (made.model(inputs).argmax(1) == targets).float().mean()
    assert made.metric("validation/accuracy") == pytest.approx(float(right))


@pytest.mark.slow
def test_blocks_that_are_computed_again_are_pruned_as_others_are(vit: Made) -> None:
    for pruner in ("structured_taylor", "layer_drop"):
        made = pruned(vit, VIT, f"pruner={pruner}", "sparsity=0.5", "train.recompute=true")
        plain = pruned(vit, VIT, f"pruner={pruner}", "sparsity=0.5")
        assert made.metric("size/parameters") == plain.metric("size/parameters")
        before, after = vit.model.state_dict(), made.model.state_dict()
        name = "blocks.0.feed_forward.projection.bias"
        assert not torch.equal(before[name], after[name])  # it was trained


def test_each_round_has_a_whole_schedule() -> None:
    factor = by_rounds(lambda steps: lambda step: step / steps, [0, 3, 7], 12)
    assert [factor(step) for step in range(12)] == pytest.approx(
        [0, 1 / 3, 2 / 3, 0, 1 / 4, 2 / 4, 3 / 4, 0, 1 / 5, 2 / 5, 3 / 5, 4 / 5]
    )


def test_each_layer_is_pruned_alone(lenet: Made) -> None:
    made = pruned(lenet, LENET, "sparsity=0.5", "method.finetune=0", "method.sensitivity=[0.5,0.99]")
    rows = made.record["sensitivity"]
    assert [(one["layer"], one["sparsity"]) for one in rows] == [
        (f"hidden{number}.weight", level) for number in (1, 2) for level in (0.5, 0.99)
    ]
    assert rows[1]["difference"] < rows[0]["difference"]
    assert all(one["low"] <= one["difference"] <= one["high"] for one in rows)
    # The same by hand: the first layer alone, at 99 %.
    model = lenet.model
    weight = model.get_parameter("hidden1.weight")
    mask = torch.ones_like(weight, dtype=torch.bool).flatten()
    mask[weight.detach().abs().flatten().argsort()[: round(0.99 * weight.numel())]] = False
    Masking(model, {"hidden1.weight": mask.view_as(weight)}).hold()
    with undisturbed():
        method = TrainMethod(composed(*LENET), CPU, lambda event: None, StopRequest())
        method.prepare(())
        inputs, targets = method.data.batch("validation", torch.arange(359))
        right = (model(inputs).argmax(1) == targets).float().mean()
    assert rows[1]["value"] == pytest.approx(float(right))


BAD: list[tuple[tuple[str, ...], type[ThriftyError], tuple[str, ...]]] = [
    (("pruner=n_m", "pruner.pattern=3:7", "sparsity=null"), Unsupported, ("3:7", "hidden1")),
    (("pruner=wanda", "method.calibration=2"), BadConfiguration, ("method.calibration=2",)),
    (("pruner=wanda", "method.calibration=100000"), BadData, ("method.calibration=100000", "1079")),
    (("pruner.protect=[hiden1]",), BadConfiguration, ("hiden1", "hidden1")),
    (("pruner.protect=[embeddings,norms,biases,head,hidden1,hidden2]",), Unsupported, ("prune",)),
    (("pruner=layer_drop",), Unsupported, ("block",)),
    (("train.shard=true",), BadConfiguration, ("train.shard",)),
]


@pytest.mark.parametrize(("typed", "kind", "told"), BAD, ids=lambda one: " ".join(one) if isinstance(one, tuple) else "")
def test_what_cannot_be_pruned_is_refused_in_a_line(
    lenet: Made, typed: tuple[str, ...], kind: type[ThriftyError], told: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as caught:
        pruned(lenet, LENET, "sparsity=0.5", *typed)
    assert "\n" not in str(caught.value)
    assert all(one in str(caught.value) for one in told), str(caught.value)


def test_a_ticket_needs_the_first_weights_of_its_dense_model(lenet: Made) -> None:
    again = make(lenet.path.parents[1], *LENET, *SHORT, "budget.epochs=null", f"checkpoint={lenet.path}")
    with pytest.raises(BadConfiguration, match="its seed does not give"):
        pruned(again, LENET, "method.rewind=true")


def test_weights_that_were_altered_are_not_pruned(lenet: Made, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(lenet.path, tmp_path / "runs" / lenet.path.name))
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(BadData, match="altered"):
        make(tmp_path, *LENET, "method=prune", origin=copy)
