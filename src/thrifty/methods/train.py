"""method=train: train a model, keep its weights, evaluate it once on the test split, measure it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from thrifty.architectures.shapes_only import shapes_only
from thrifty.config import registry
from thrifty.config.compose import plain
from thrifty.config.schema import Config
from thrifty.engines.compile import compiled_for_training
from thrifty.errors import BadConfiguration, Diverged, Unsupported
from thrifty.events import Event, Preparing, Validated
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.execution.ranks import Rank
from thrifty.execution.turns import turns
from thrifty.measure.energy import EnergyMeter
from thrifty.measure.flops import forward_flops, training_flops
from thrifty.measure.memory import PeakHostMemory, peak_device_mib, reset_peak_device
from thrifty.measure.statistics import Interval
from thrifty.methods.checkpoints import Checkpoints
from thrifty.methods.data_parallel import Alone, cpu_seconds_elsewhere, joined
from thrifty.methods.evaluate import any_shape, predictor, scores_of
from thrifty.methods.findings import Findings
from thrifty.methods.fresh_loading import FreshLoading
from thrifty.methods.model import build_model, example_inputs, load_trained, same_architecture
from thrifty.methods.module import TrainingModule
from thrifty.methods.monitor import Limits, Trace, TrainingMonitor, lightning_trainer
from thrifty.methods.profiling import profile_run
from thrifty.methods.recomputation import recompute_blocks
from thrifty.methods.requirements import batch_size_for, check_levers
from thrifty.methods.sampler import BatchSampler, Calls
from thrifty.methods.weight_average import WeightAverage
from thrifty.pruners.form import given_form
from thrifty.record import config_hash
from thrifty.stop import HOPELESS, StopRequest, status_of
from thrifty.store import RunDirectory, find_run, read_record, room_for
from thrifty.tasks.base import Data

_HISTORY_POINTS = 100


class TrainMethod:
    """One training run, from data to metrics.

    Args:
        emit: receives the run's events.
        stop: looked at between calls of the training step.
        rank: which of the processes that train together this is.
        ask: called at each validation where somebody is there to say whether training is worth going on with; `stop` has the answer.
        known_before: metrics that are told with each question, though the model has them before it is trained.
    """

    elsewhere_s = 0.0
    """Processor time that other ranks of this machine have spent on the training."""

    def __init__(
        self,
        config: Config,
        device: torch.device,
        emit: Callable[[Event], None],
        stop: StopRequest,
        rank: Rank | None = None,
        ask: Callable[[Validated], None] | None = None,
        known_before: Collection[str] = (),
    ) -> None:
        self._ask, self._known_before = ask, known_before
        self.config, self.device, self.emit, self.stop, self.rank = config, device, emit, stop, rank or Rank()
        self.precision = registry.load("precision", config.precision.name)(config.precision)
        self.engine = registry.load("engine", config.engine.name)(config.engine)
        self.data: Data
        self.parents: list[str] = []
        self._initial: Path | None = None
        self._largest_peaks: list[float | None] = []
        """MiB on the host and on the device, of the rank with most; none of a training that did not end well."""
        self._glance: dict[str, Interval] | None = None
        self.form: dict[str, Any] | None = None
        """Shapes of a model that has not those of its architecture's configuration."""

    def prepare(
        self,
        given: Collection[str],
        beginning: Beginning = FROM_NOTHING,
    ) -> dict[str, Any]:
        """Read the data and hold the configuration to it, before anything is written; returns the record's `data`.

        Args:
            given: keys the user gave: the default batch gives way to a small training split, one asked for does not.

        Raises:
            BadConfiguration: a batch larger than the training split, label smoothing without classes, or a checkpoint of
                another architecture.
            BadData: unusable data, or a disk too full for the run.
            Unsupported: nothing of the model would compute in the precision asked for.
        """
        config = self.config
        self.emit(Preparing(f"reading the {config.task.name} data"))
        task = registry.load("task", config.task.name)(config.task, Path(config.store))
        self.data = task.prepare(config.architecture)
        self.batch_size = batch_size_for(config, self.data, given, beginning.batch_size)
        check_levers(config, self.data, self.batch_size, self.device)
        self._find_checkpoint(beginning.origin)
        flops = None if config.budget.flops is None else self._flops_per_example()
        self.steps = config.budget.steps_for(self.data.sizes["train"], self.batch_size, flops)
        self._of = f"{config_hash(plain(config))} {self.data.fingerprint}"
        self._went_on: dict[str, Any] | None = None
        if beginning.resumed is not None:
            self._take_up(beginning.resumed)
        with shapes_only():
            model = build_model(config.architecture, self.data.shape, 0.0)
            parameters = sum(one.numel() for one in model.parameters())
        if (reason := self.precision.unsuited(model)) is not None:
            raise Unsupported(reason)
        if (sentence := self.precision.about(model)) is not None:
            self.data.about.append(sentence)
        room_for(Path(config.store), parameters * self.precision.weight_dtype.itemsize + 2**22)
        return {
            "sha256": self.data.fingerprint,
            "examples": self.data.sizes,
            "about": self.data.about,
            "deciding": self.data.deciding,
            "batch_size": self.batch_size,
            "steps": self.steps,
        }

    def run(self, directory: RunDirectory) -> tuple[str, str | None]:
        """Train, save, evaluate, measure; fills the directory's record and returns its status and reason.

        Raises:
            Diverged: the loss became infinite or not a number.
        """
        self.path, self.findings = directory.path, Findings(directory, self.config, self.data, self.device)
        directory.record["flags"] += self.data.flags
        directory.record["parents"] = self.parents
        pl.seed_everything(self.config.seed, verbose=False)
        self.data.to(self.device)
        self.emit(Preparing("building the model"))
        with self.stop.deferred():
            trace, model = self._made()
            self.emit(Preparing("saving the weights"))
            self._save(model)
        # A stop asked for after the last call came too late to cut training short, not too late to be obeyed.
        trace.stopped = trace.stopped or self.stop.reason
        if trace.stopped:
            self.findings.untouched("the run was stopped")
            if trace.stopped == HOPELESS:
                directory.record["flags"].append(HOPELESS)
                Checkpoints(self.path, self._of).remove()
            return status_of(trace.stopped), f"{self.stop.in_words(trace.stopped)} at step {trace.steps} of {self.steps}"
        self._look_at(model, trace, directory.record["config_hash"])
        if self.config.profile:  # last: it slows what it watches, and trains on
            self.emit(Preparing("profiling a few more steps and predictions"))
            with turns().alone():
                directory.record["profile"] = profile_run(self.path, self._module(model), self.batch_size, self.device)
        self.findings.written(self._checkpoint_bytes)
        Checkpoints(self.path, self._of).remove()
        return "ok", None

    def _made(self) -> tuple[Trace, nn.Module]:
        """The trained model."""
        return self._train(self._model())

    def _save(self, model: nn.Module) -> None:
        self.findings.weights(model, self.form)

    def _look_at(self, model: nn.Module, trace: Trace, its_hash: str) -> None:
        """Evaluate the model and measure it."""
        # A fresh process makes its imports while the test split is evaluated.
        with FreshLoading(self.config, its_hash, self.path, self.device, self.engine) as loading:
            self.emit(Preparing("evaluating on the test split"))
            self.findings.quality(self._as_executed(model), trace, self._validation_examples)
            if loading.takes_time:
                and_compiles = " and compiles" if self.engine.compiles else ""
                self.emit(Preparing(f"measuring a fresh process that loads{and_compiles} the model"))
            with turns().alone():
                self.findings.loading(loading.measure())
        if self.config.measure.seconds:
            self.emit(Preparing("measuring prediction"))
            # The ceiling is that of one GPU, and of all cores.
            seconds = trace.seconds * (self.rank.of if self.device.type == "cuda" else 1)
            with turns().alone():
                self.findings.speed(self.engine, self.batch_size, trace.steps * self.batch_size, seconds)

    def _as_executed(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Predictions by the run's engine where it computes in a way of its own, else by PyTorch."""
        if not self.engine.exports:
            return predictor(model, self.precision, self.device)
        trained = load_trained(self.path, self.device)
        self.emit(Preparing(f"exporting the model for engine={self.engine.name}"))
        begin = time.perf_counter()
        first = example_inputs(self.config.architecture, self.data.shape, 1).to(self.device)

        def prepared(some: Tensor) -> Callable[[Tensor], Tensor]:
            return predictor(trained.module, self.precision, self.device, self.engine, some, trained.kept)

        prepared(first)(first)
        self.findings.exported(time.perf_counter() - begin, trained.kept)
        return any_shape(prepared)

    def follow(self) -> None:
        """Instead of `run`, of a rank that does not lead: train with the others, and no more.

        Raises:
            Diverged: the loss became infinite or not a number; the rank that leads tells of it.
        """
        pl.seed_everything(self.config.seed, verbose=False)
        self.data.to(self.device)
        model = self._model()
        torch.manual_seed(self.config.seed + self.rank.number)  # what is dropped is not the same on every rank
        self.path = Path(self.config.store)
        self._train(model)

    def _flops_per_example(self) -> int:
        """Of a forward and a backward pass."""
        architecture, shape = self.config.architecture, self.data.shape
        return training_flops(
            lambda: self._in_form(build_model(architecture, shape, 0.0)), example_inputs(architecture, shape, 1)
        )

    def _find_checkpoint(self, origin: Path | None) -> None:
        given = self.config.checkpoint or (None if origin is None else origin.name)
        if given is None:
            return
        self._initial = origin or find_run(Path(self.config.store), given)
        record = read_record(self._initial)
        trained = load_trained(self._initial, torch.device("cpu"), record["config_hash"])
        if trained.manifest.get("quantized") is not None:
            began = f", or the run that it was made from: checkpoint={record['parents'][0]}" if record["parents"] else ""
            raise BadConfiguration(
                f"checkpoint={given}: holds a quantised model, whose weights are no longer there to go on with; name a dense or a pruned one"
                f"{began}"
            )
        if not same_architecture(self.config.architecture, trained.manifest) or trained.manifest["shape"] != self.data.shape:
            raise BadConfiguration(
                f"checkpoint={given}: holds {trained.manifest['architecture']} for {trained.manifest['shape']}, this run has "
                f"{plain(self.config.architecture)} for {self.data.shape}; give the same architecture, model and data"
            )
        self.parents = [record["id"]]
        self.form = trained.manifest.get("form")

    def _take_up(self, run: Path) -> None:
        self._went_on, told = Checkpoints(run, self._of).newest()
        where = (
            "had left no checkpoint: it began anew" if self._went_on is None else f"went on after step {self._went_on['step']}"
        )
        self.data.about += [*told, f"the run was cut off and {where}"]

    def _model(self) -> nn.Module:
        # Built on the CPU, so that a seed gives the same weights on every device.
        model = self._in_form(build_model(self.config.architecture, self.data.shape, self.config.regularizer.dropout or 0.0))
        if self._initial is not None:
            trained = load_trained(self._initial, torch.device("cpu"))
            model.load_state_dict(trained.module.state_dict())
        if self.config.train.recompute:
            recompute_blocks(model)
        return self.precision.prepared(model, self.device.type).to(self.device, self.precision.weight_dtype)

    def _in_form(self, model: nn.Module) -> nn.Module:
        """The model with the shapes of the one it begins with, where those are not its configuration's."""
        return model if self.form is None else given_form(model, self.form)

    def endless_steps(self) -> Callable[[], None]:
        """After `prepare`: a call that makes the next optimiser step, for measuring; over the schedule's end it begins anew."""
        self.data.to(self.device)
        model = self._model().train()
        module = self._module(model)
        sampler = BatchSampler(self.data.sizes["train"], self.batch_size, self.config.seed)
        whole = self.batch_size <= module.most_at_once

        def step() -> None:
            module.steps_made %= self.steps
            draws = sampler.draws(module.steps_made, 1)
            module.training_step([self.data.batch("train", draws[0])] if whole else draws, 0)

        return step

    def _module(self, model: nn.Module, ranks: Alone | None = None) -> TrainingModule:
        config = self.config
        ranks = ranks or Alone()
        wrapped = ranks.wrap(model)  # first: its parameters may be others then
        optimizer = registry.load("optimizer", config.optimizer.name)(config.optimizer, model)
        factor = registry.load("schedule", config.schedule.name)(config.schedule, self.steps)
        assert config.optimizer.lr is not None
        average = WeightAverage(model, config.train.average) if config.train.average else None
        module = TrainingModule(
            model,
            self.data,
            optimizer,
            config.optimizer.lr,
            factor,
            self.precision,
            config.regularizer,
            config.train.clip,
            average,
            ranks,
            wrapped,
        )
        share = self.batch_size // self.rank.of
        if config.batch_size != "full":
            module.most_at_once = share  # what was asked for, memory included
        module.most_at_once = min(module.most_at_once, math.ceil(share / config.train.accumulate))
        if config.train.compile:
            module.forward_pass = compiled_for_training(module.wrapped)
        return module

    def _train(self, model: nn.Module) -> tuple[Trace, nn.Module]:
        """Train with the other ranks, if there are any; the one that leads validates, keeps checkpoints, tells of it, and has all of
        the model at the end.
        """
        leads = self.rank.leads
        self.emit(Preparing("training"))
        checkpoints = Checkpoints(self.path, self._of, self.config.train.checkpoints) if leads else None
        memory, self._energy = PeakHostMemory(), EnergyMeter(self.device)
        begin = time.process_time()
        with joined(self.rank, self.device, self.config.threads, self.config.train.shard) as ranks:
            module = self._module(model, ranks)
            monitor = self._monitor(module, checkpoints, ranks)
            trainer = lightning_trainer(monitor, self.device, str(self.path))
            reset_peak_device(self.device)
            try:
                with memory, self._energy:
                    trainer.fit(module, train_dataloaders=monitor.calls)
            except Diverged:
                if leads:
                    self._keep_training(monitor.trace, memory)
                raise
            peaks = [-1 if one is None else one for one in (memory.peak_mib, peak_device_mib(self.device))]
            self._largest_peaks = [None if one < 0 else one for one in ranks.largest(peaks)]
            self.elsewhere_s = cpu_seconds_elsewhere(ranks, self.rank, time.process_time() - begin)
        if checkpoints is not None:
            model = monitor.model
            model.to(self.device)  # Lightning has left it on the CPU
            self._complete(monitor.trace, model)
            self._keep_training(monitor.trace, memory)
            self._checkpoint_bytes = checkpoints.written_bytes
        return monitor.trace, model

    def _monitor(self, module: TrainingModule, checkpoints: Checkpoints | None, ranks: Alone) -> TrainingMonitor:
        config, data = self.config, self.data
        validation_steps = _evenly(self.steps, config.train.validations)
        history_steps = _evenly(self.steps, _HISTORY_POINTS) | {1}
        sampler = BatchSampler(data.sizes["train"], self.batch_size, config.seed, ranks.number, ranks.of)
        whole = self.batch_size // ranks.of <= module.most_at_once
        gather = (lambda draws: data.batch("train", draws)) if whole else None
        begun = self._went_on["step"] if self._went_on else 0
        calls = Calls(sampler, self.steps, validation_steps, config.train.steps_per_call, gather, begun, config.workers)
        if self._went_on is not None:
            module.restore(self._went_on["module"])
        module.model.train()
        limits = Limits(config.budget.seconds, config.target, config.train.patience, self.stop)
        if self.rank.leads and self._ask is not None:
            limits.ask, limits.known_before = self._ask, self._told_before(module.model)
        return TrainingMonitor(
            calls, limits, self.validate if self.rank.leads else None, validation_steps, history_steps, data.deciding, self.emit,
            checkpoints, self._went_on, ranks,
        )  # fmt: skip

    def _told_before(self, model: nn.Module) -> dict[str, float]:
        """What of the model as it will be predicting is known before it is trained."""
        counts: dict[str, Callable[[], float]] = {
            "size/parameters": lambda: sum(one.numel() for one in model.parameters()),
            "infer/flops_per_sample": lambda: forward_flops(
                lambda: self._in_form(build_model(self.config.architecture, self.data.shape, 0.0)),
                example_inputs(self.config.architecture, self.data.shape, 1),
            ),
        }
        return {name: float(count()) for name, count in counts.items() if name in self._known_before}

    def validate(self, model: nn.Module) -> dict[str, Interval]:
        """The validation split as training looks at it; leaves the model in training mode."""
        self._seen = self._validation_scores(model)
        model.train()
        self._glance = self.data.glance(self._seen)
        return self._glance

    def _validation_scores(self, model: nn.Module) -> dict[str, np.ndarray]:
        predict = predictor(model, self.precision, self.device)
        return scores_of(predict, self.data, "validation", self._validation_examples)

    def _complete(self, trace: Trace, model: nn.Module) -> None:
        """Give the validation that is kept those intervals that training did without."""
        if not trace.validation:
            return
        if trace.validation is self._glance:
            trace.validation = self.data.summarise(self._seen)
        elif not trace.stopped:  # an earlier, best one, whose weights the model has again
            trace.validation = self.data.summarise(self._validation_scores(model))

    @property
    def _validation_examples(self) -> int | None:
        most = self.config.measure.examples
        return None if most is None else max(1, most // 4)

    def _keep_training(self, trace: Trace, memory: PeakHostMemory) -> None:
        host, device = self._largest_peaks or (memory.peak_mib, peak_device_mib(self.device))
        self.findings.training(trace, self.batch_size, self._energy, memory, (host, device))


def _evenly(steps: int, points: int) -> set[int]:
    """About `points` steps, evenly spaced, the last one among them; none for no points."""
    if points == 0:
        return set()
    return {int(one) for one in np.unique(np.ceil(np.linspace(0, steps, min(points, steps) + 1))[1:])}
