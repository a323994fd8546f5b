"""method=prune: take weights or units out of a dense model, train what is left a little more, measure it as any run."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from thrifty.config import registry
from thrifty.config.choices.methods import Pace, Prune
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.events import Preparing
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.measure.flops import nonzero_flops
from thrifty.measure.statistics import Interval
from thrifty.methods.compress import CompressMethod
from thrifty.methods.data_parallel import Alone
from thrifty.methods.model import example_inputs
from thrifty.methods.module import TrainingModule
from thrifty.methods.monitor import Trace
from thrifty.methods.pruning import MaskUpkeep, by_rounds
from thrifty.methods.quality_loss import difference_between, loss_between
from thrifty.methods.sensitivity import layers_alone
from thrifty.methods.sparsity_search import SparsitySearch
from thrifty.metrics import measured, missing
from thrifty.pruners.base import MaskPruner, UnitPruner
from thrifty.pruners.blocks import full_names
from thrifty.pruners.form import form_of
from thrifty.pruners.pace import due_steps
from thrifty.pruners.targets import find_targets


class PruneMethod(CompressMethod):
    """A training of a model that loses weights at its begin, or while it goes on."""

    verb = "pruned"
    carried = ("sensitivity", "search")

    def prepare(
        self,
        given: Collection[str],
        beginning: Beginning = FROM_NOTHING,
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
        if self.search is not None:
            beginning = replace(beginning, resumed=None)  # one that was cut off begins anew
        about = super().prepare(given, beginning)
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
        if self.pruner.calibrates:
            self._check_calibration(method.calibration)
        about["about"].append(targets.protected_sentence)
        if self.dense_record["metrics"].get("size/nonzero") != self.dense_record["metrics"].get("size/parameters"):
            about["about"].append(
                "the model pruned has zeros already; those that this pruner does not take grow back in training"
            )
        return about

    def _check_rewind(self) -> None:
        began = self.dense_record["parents"]
        if began:
            raise BadConfiguration(
                f"method.rewind=true: the dense model {self.dense_record['id']} began with the weights of another run, so that its seed "
                "does not give its first ones; take one that was trained from the beginning"
            )

    def _compressed(self) -> tuple[Trace, nn.Module]:
        if self.method.sensitivity:
            self._record["sensitivity"] = self._sensitivity()
        if self.search is None:
            return self._pruned_once()
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
                trace, model = self._pruned_once()
            except Unsupported as error:  # no such share can be made: as if it cost too much
                self.search.refuse(sparsity)
                refused = error
                continue
            spent += self.compressing_s + trace.seconds
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
        self.compressing_s = spent - trace.seconds
        self._record["search"] = self.search.rows()
        self._record["data"]["about"].append(self.search.sentence())
        self._record["flags"] += self.search.flags()
        return trace, model

    def _pruned_once(self) -> tuple[Trace, nn.Module]:
        return self._train(self._model())

    def _taken_over(self, run: Path) -> tuple[Trace, nn.Module]:
        self.upkeep = None
        return super()._taken_over(run)

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
            lambda: self._calibration(self.method.calibration),
            judge,
            lambda sentence: self.emit(Preparing(sentence)),
            lambda: self.stop.reason is not None,
        )
        return [one.as_row() for one in found]

    def _model(self) -> nn.Module:
        model = super()._model()
        begin = time.perf_counter()
        if isinstance(self.pruner, UnitPruner):
            model = self._shrunk(model, self.pruner)
            self.upkeep = None
        else:
            self.upkeep = self._masked(model, self.pruner)
        self.compressing_s = time.perf_counter() - begin
        return model

    def _shrunk(self, model: nn.Module, pruner: UnitPruner) -> nn.Module:
        example = example_inputs(self.config.architecture, self.data.shape, 2).to(self.device)
        calibration = self._calibration(self.method.calibration) if pruner.calibrates else None
        shrunk = pruner.shrink(model, self.sparsity, example, calibration)
        self.form = form_of(shrunk)
        return shrunk

    def _masked(self, model: nn.Module, pruner: MaskPruner) -> MaskUpkeep:
        due = due_steps(self.method.pace, self.sparsity, self.method.rounds, self.steps)
        upkeep = MaskUpkeep(
            model,
            pruner,
            due,
            (lambda: self._calibration(self.method.calibration)) if pruner.calibrates else None,
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

    def _module(self, model: nn.Module, ranks: Alone | None = None) -> TrainingModule:
        module = super()._module(model, ranks)
        module.upkeep = self.upkeep
        if self.upkeep is not None and self.method.pace is Pace.iterative:
            # Each round is a training of its own, its learning rate up and down again.
            build, config = registry.load("schedule", self.config.schedule.name), self.config.schedule
            module.lr_factor = by_rounds(lambda steps: build(config, steps), sorted(self.upkeep.due), self.steps)
        return module

    def _train(self, model: nn.Module) -> tuple[Trace, nn.Module]:
        trace, model = super()._train(model)
        if self.steps and self.rank.leads and trace.stopped is None and self.upkeep is not None:
            self._finish_masks(trace, model, self.upkeep)
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

    def _write_weights(self, model: nn.Module) -> None:
        self.findings.weights(model, self.form, sparse=isinstance(self.pruner, MaskPruner))
        in_full = full_names(model)
        left = sum(int(one.count_nonzero()) for name, one in model.named_parameters() if in_full[name] in self._open)
        self.findings.metrics["compress/sparsity"] = measured(1 - left / self._open_weights)
        told = self._record["data"]["about"]
        told += [one for one in self.pruner.about if one not in told]

    def _tell_cost(self) -> None:
        metrics = self.findings.metrics
        counted = metrics.get("infer/flops_per_sample")
        if counted is not None:
            one = example_inputs(self.config.architecture, self.data.shape, 1).to(self.device)
            with self.precision.context(self.device.type):
                executed = nonzero_flops(self._finished.eval(), one, int(counted["value"]))
            metrics["infer/nonzero_flops_per_sample"] = measured(executed)
        super()._tell_cost()

    def _cost_in_flops(self, training: float) -> dict[str, Any]:
        if self.search is None:
            return measured(training)
        if isinstance(self.pruner, UnitPruner):
            return missing("a search, and each model that it trained was of another size")
        steps = self.findings.metrics["train/steps"]["value"]
        return measured(training * self._steps_of_all / steps if steps else training)  # it trains for each sparsity it tries
