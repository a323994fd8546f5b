"""method=prune: take weights or units out of a dense model, train what is left a little more, measure it as any run."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from thrifty.config import registry
from thrifty.config.choices.methods import Pace, Prune
from thrifty.errors import BadConfiguration, BadData, Unsupported
from thrifty.events import Preparing
from thrifty.execution.batch_size import BatchSize
from thrifty.measure.energy import EnergyMeter
from thrifty.measure.flops import nonzero_flops
from thrifty.measure.memory import PeakHostMemory
from thrifty.measure.statistics import Interval
from thrifty.methods.data_parallel import Alone
from thrifty.methods.evaluate import predictor, scores_of
from thrifty.methods.model import build_model, example_inputs
from thrifty.methods.module import TrainingModule
from thrifty.methods.monitor import Trace
from thrifty.methods.pruning import MaskUpkeep, by_rounds
from thrifty.methods.quality_loss import difference_between, loss_between
from thrifty.methods.sensitivity import layers_alone
from thrifty.methods.sparsity_search import SparsitySearch
from thrifty.methods.train import TrainMethod
from thrifty.metrics import measured, missing
from thrifty.pruners.base import Calibration, MaskPruner, UnitPruner
from thrifty.pruners.blocks import full_names
from thrifty.pruners.form import form_of
from thrifty.pruners.pace import due_steps
from thrifty.pruners.targets import find_targets
from thrifty.store import read_record

_CALIBRATION_BATCH = 32


class PruneMethod(TrainMethod):
    """A training of a model that loses weights at its begin, or while it goes on."""

    def prepare(
        self,
        given: Collection[str],
        resumed: Path | None = None,
        found: BatchSize | None = None,
        origin: Path | None = None,
    ) -> dict[str, Any]:
        """As for a training; and hold the pruner to the model.

        Raises:
            BadConfiguration: a dense model whose first weights are not known, for a ticket, or a pattern in `protect` that names nothing.
            BadData: fewer training examples than the pruner is to look at.
            Unsupported: the model has nothing to prune.
        """
        config = self.config
        method = config.method
        assert isinstance(method, Prune)
        assert config.pruner is not None
        self.method = method
        self.sparsity = config.sparsity if isinstance(config.sparsity, float) else 0.0
        self.search = None if isinstance(config.sparsity, float) else SparsitySearch(config.max_quality_loss or 0.0)
        # A search that was cut off begins anew.
        about = super().prepare(given, resumed if self.search is None else None, found, origin)
        assert self._initial is not None
        self.dense_record, self._dense_form = read_record(self._initial), self.form
        if method.rewind:
            self._check_rewind()
        self.round_steps = self.steps if method.rewind else round(method.finetune * self.steps)
        rounds = method.rounds if method.pace is Pace.iterative else 1
        if method.rewind:
            self.steps = rounds * self.round_steps
        else:
            self.steps = self.round_steps
            self.round_steps = max(1, self.steps // rounds)
        self.pruner: MaskPruner | UnitPruner = registry.load("pruner", config.pruner.name)(config.pruner)
        model = self._fresh("meta")
        targets = find_targets(model, config.pruner.protect)
        in_full = full_names(model)
        self._open, self._open_weights = {in_full[name] for name in targets.weights}, targets.total
        if self.pruner.calibrates and method.calibration > self.data.sizes["train"]:
            raise BadData(
                f"method.calibration={method.calibration}: the training split has {self.data.sizes['train']} examples; "
                "give fewer, or more data"
            )
        about["about"] += [f"pruned from {self.dense_record['id']}", targets.protected_sentence]
        if self.dense_record["data"].get("sha256") != self.data.fingerprint:
            about["about"].append("the dense model was trained on other data: its quality is that of other examples")
        if self.dense_record["metrics"].get("size/nonzero") != self.dense_record["metrics"].get("size/parameters"):
            about["about"].append(
                "the model pruned has zeros already; those that this pruner does not take grow back in training"
            )
        return about

    def run(self, directory: Any) -> tuple[str, str | None]:
        """As a training; and say what compressing cost.

        Raises:
            Diverged: the loss became infinite or not a number.
            Unsupported: nothing of the model can be removed, or not as much.
        """
        self._record = directory.record
        status, reason = super().run(directory)
        if status == "ok":
            self._tell_cost()
        return status, reason

    def _check_rewind(self) -> None:
        began = self.dense_record["parents"]
        if began:
            raise BadConfiguration(
                f"method.rewind=true: the dense model {self.dense_record['id']} began with the weights of another run, so that its seed "
                "does not give its first ones; take one that was trained from the beginning"
            )

    def _made(self) -> tuple[Trace, nn.Module]:
        if self.method.sensitivity:
            self._record["sensitivity"] = self._sensitivity()
        if self.search is None:
            return super()._made()
        dense = self._scores(super()._model())
        flags, spent, kept = list(self._record["flags"]), 0.0, None
        self._steps_of_all, refused = 0, None
        for sparsity in self.search:
            number = len(self.search.tried) + 1
            self.emit(Preparing(f"evaluation {number} of about {self.search.expected}: sparsity={sparsity:g}"))
            self._record["flags"] = list(flags)  # without those of the evaluation before
            self.sparsity, self.form = sparsity, self._dense_form
            pl.seed_everything(self.config.seed, verbose=False)
            try:
                trace, model = super()._made()
            except Unsupported as error:  # no such share can be made: as if it cost too much
                self.search.refuse(sparsity)
                refused = error
                continue
            spent += self.pruning_s + trace.seconds
            self._steps_of_all += trace.steps
            if trace.stopped:
                if kept is None:
                    return trace, model
                kept[1].stopped = trace.stopped
                break
            better = self.search.tell(sparsity, loss_between(self.data, dense, self._scores(model)))
            if better or kept is None:
                kept = (sparsity, trace, model, self.form, self.upkeep, self._memory, list(self.pruner.about))
        if kept is None:
            assert refused is not None
            raise refused
        self.sparsity, trace, model, self.form, self.upkeep, memory, self.pruner.about = kept
        self._record["flags"] = list(flags)
        self._keep_training(trace, memory)  # those after it have overwritten it
        self.pruning_s = spent - trace.seconds
        self._record["search"] = self.search.rows()
        self._record["data"]["about"].append(self.search.sentence())
        self._record["flags"] += self.search.flags()
        return trace, model

    def _keep_training(self, trace: Trace, memory: PeakHostMemory) -> None:
        self._memory = memory
        super()._keep_training(trace, memory)

    def _sensitivity(self) -> list[dict[str, Any]]:
        model = super()._model()
        dense = self._scores(model)
        assert self.config.pruner is not None

        def judge(pruned: nn.Module) -> tuple[float, Interval]:
            scores = self._scores(pruned)
            return self.data.glance(scores)[self.data.deciding].value, difference_between(self.data, dense, scores)

        found = layers_alone(
            model,
            self.config.pruner,
            self.method.sensitivity,
            example_inputs(self.config.architecture, self.data.shape, 2).to(self.device),
            lambda: self._calibration(model),
            judge,
            lambda sentence: self.emit(Preparing(sentence)),
            lambda: self.stop.reason is not None,
        )
        return [one.as_row() for one in found]

    def _scores(self, model: nn.Module) -> dict[str, np.ndarray]:
        """Of every example of the validation split."""
        return scores_of(predictor(model, self.precision, self.device), self.data, "validation", None)

    def _fresh(self, device: str) -> nn.Module:
        with torch.device(device):
            model = build_model(self.config.architecture, self.data.shape, self.config.regularizer.dropout or 0.0)
        return self._in_form(model)

    def _model(self) -> nn.Module:
        model = super()._model()
        begin = time.perf_counter()
        if isinstance(self.pruner, UnitPruner):
            model = self._shrunk(model, self.pruner)
            self.upkeep = None
        else:
            self.upkeep = self._masked(model, self.pruner)
        self.pruning_s = time.perf_counter() - begin
        return model

    def _shrunk(self, model: nn.Module, pruner: UnitPruner) -> nn.Module:
        example = example_inputs(self.config.architecture, self.data.shape, 2).to(self.device)
        calibration = self._calibration(model) if pruner.calibrates else None
        shrunk = pruner.shrink(model, self.sparsity, example, calibration)
        self.form = form_of(shrunk)
        return shrunk

    def _masked(self, model: nn.Module, pruner: MaskPruner) -> MaskUpkeep:
        due = due_steps(self.method.pace, self.sparsity, self.method.rounds, self.steps)
        upkeep = MaskUpkeep(
            model,
            pruner,
            due,
            (lambda: self._calibration(model)) if pruner.calibrates else None,
            self._first_weights() if self.method.rewind else None,
        )
        if 0 in due:
            upkeep.prune(0)
        return upkeep

    def _first_weights(self) -> dict[str, Tensor]:
        """What the dense model's training began with."""
        config = self.dense_record["config"]
        state = torch.get_rng_state()
        pl.seed_everything(config["seed"], verbose=False)
        first = self.precision.prepared(self._fresh("cpu"), self.device.type).to(self.device, self.precision.weight_dtype)
        torch.set_rng_state(state)
        return first.state_dict()

    def _calibration(self, model: nn.Module) -> Calibration:
        """The same examples each time, drawn from the training split."""
        drawn = torch.randperm(self.data.sizes["train"], generator=torch.Generator().manual_seed(self.config.seed))
        batches = [self.data.batch("train", one) for one in drawn[: self.method.calibration].split(_CALIBRATION_BATCH)]

        def forward(module: nn.Module, inputs: Tensor) -> Tensor:
            with self.precision.context(self.device.type):
                return module(inputs).float()

        return Calibration(batches, self.data.loss, forward)

    def _module(self, model: nn.Module, ranks: Alone | None = None) -> TrainingModule:
        module = super()._module(model, ranks)
        module.upkeep = self.upkeep
        if self.upkeep is not None and self.method.pace is Pace.iterative:
            # Each round is a training of its own, its learning rate up and down again.
            build, config = registry.load("schedule", self.config.schedule.name), self.config.schedule
            module.lr_factor = by_rounds(lambda steps: build(config, steps), sorted(self.upkeep.due), self.steps)
        return module

    def _train(self, model: nn.Module) -> tuple[Trace, nn.Module]:
        if self.steps:
            trace, model = super()._train(model)
            if self.rank.leads and trace.stopped is None and self.upkeep is not None:
                self._finish_masks(trace, model, self.upkeep)
            return trace, model
        trace = Trace()
        if not self.rank.leads:
            return trace, model
        memory, self._energy = PeakHostMemory(), EnergyMeter(self.device)
        with memory, self._energy:
            trace.validation = self.data.summarise(self._validation_scores(model.eval()))
        self._keep_training(trace, memory)
        self._checkpoint_bytes = 0
        return trace, model

    def _finish_masks(self, trace: Trace, model: nn.Module, upkeep: MaskUpkeep) -> None:
        """Mask what is not masked yet, in a training that the time ended, and in a mean of the weights, which remembers what is gone."""
        cut_short = trace.steps < upkeep.last
        if cut_short:
            upkeep.prune(upkeep.last)
            trace.flags.append("pruning_cut_short")
        assert upkeep.masking is not None
        upkeep.masking.hold()
        if cut_short or self.config.train.average:
            flags = self._record["flags"]
            flags[:] = [one for one in flags if one not in trace.flags]  # told once
            trace.validation = self.data.summarise(self._validation_scores(model))
            self._keep_training(trace, self._memory)

    def _save(self, model: nn.Module) -> None:
        self.findings.weights(model, self.form, sparse=isinstance(self.pruner, MaskPruner))
        self._finished = model
        in_full = full_names(model)
        left = sum(int(one.count_nonzero()) for name, one in model.named_parameters() if in_full[name] in self._open)
        self.findings.metrics["compress/sparsity"] = measured(1 - left / self._open_weights)
        told = self._record["data"]["about"]
        told += [one for one in self.pruner.about if one not in told]

    def _tell_cost(self) -> None:
        metrics = self.findings.metrics
        metrics["compress/time_s"] = measured(self.pruning_s + metrics["train/time_s"]["value"])
        counted = metrics.get("infer/flops_per_sample")
        if counted is not None:
            one = example_inputs(self.config.architecture, self.data.shape, 1).to(self.device)
            with self.precision.context(self.device.type):
                executed = nonzero_flops(self._finished.eval(), one, int(counted["value"]))
            metrics["infer/nonzero_flops_per_sample"] = measured(executed)
        flops, steps = metrics.get("train/flops"), metrics["train/steps"]["value"]
        if flops is not None and flops["value"] is not None:
            if self.search is not None and isinstance(self.pruner, UnitPruner):
                metrics["compress/flops"] = missing("a search, and each model that it trained was of another size")
            else:  # a search trains for each sparsity it tries
                times = self._steps_of_all / steps if self.search is not None and steps else 1.0
                metrics["compress/flops"] = measured(flops["value"] * times)
