"""What watches training: the clock, the history, validation, the target, early stopping, the budget, a request to stop."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor, nn

from thrifty.errors import Diverged
from thrifty.events import Event, HistoryRow, Progress, Validated
from thrifty.execution.turns import turns
from thrifty.measure.statistics import Interval
from thrifty.methods.checkpoints import Checkpoints
from thrifty.methods.data_parallel import Alone
from thrifty.methods.module import TrainingModule
from thrifty.methods.sampler import Calls
from thrifty.metrics import improves
from thrifty.stop import EXIT_CODES, HOPELESS, StopRequest

CALL_SECONDS = 0.05
"""Length of a call of the training step that keeps Lightning's cost below a few percent, and a stop prompt."""
MOST_STEPS_PER_CALL = 256
_PROGRESS_SECONDS = 0.25
_STOPS = [None, *EXIT_CODES]
"""Reasons to stop, by the number the ranks tell each other."""


@dataclass
class Limits:
    """What can end training before its last step."""

    seconds: float | None
    target: float | None
    patience: int
    stop: StopRequest
    ask: Callable[[Validated], None] | None = None
    """Called at each validation; asks `stop` for an end where somebody has found that training is not worth going on with."""
    known_before: dict[str, float] = field(default_factory=dict)
    """Metrics of the model, for whoever is asked."""


@dataclass
class Trace:
    """What happened in training: raw samples, from which the record's metrics are derived."""

    calls: list[tuple[int, float, float]] = field(default_factory=list)
    """(optimiser steps, seconds, of them seconds of waiting for data) of every call, in order."""
    history: list[dict[str, float]] = field(default_factory=list)
    validation: dict[str, Interval] = field(default_factory=dict)
    """Metrics of the last validation, or of the best where early stopping went back to it."""
    seconds_to_target: float | None = None
    stopped: str | None = None
    """Why training was asked to stop; None where it went as far as it was meant to."""
    flags: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Optimiser steps made."""
        return sum(call[0] for call in self.calls)

    @property
    def seconds(self) -> float:
        """Training time: the calls and what lies between them, without validation."""
        return sum(call[1] for call in self.calls)


class TrainingMonitor(pl.Callback):
    """Follows the calls of the training step, and acts at the steps where something is due.

    Of several ranks the first validates, keeps checkpoints and says when to end; all make the same calls, and any may be asked to
    stop.

    Args:
        validate: None on the ranks that follow.
    """

    def __init__(
        self,
        calls: Calls,
        limits: Limits,
        validate: Callable[[nn.Module], dict[str, Interval]] | None,
        validation_steps: set[int],
        history_steps: set[int],
        deciding: str,
        emit: Callable[[Event], None],
        checkpoints: Checkpoints | None = None,
        resumed: dict[str, Any] | None = None,
        ranks: Alone | None = None,
    ) -> None:
        self.checkpoints, self._resumed, self._ranks = checkpoints, resumed, ranks or Alone()
        self.calls, self.limits, self.validate, self.emit = calls, limits, validate, emit
        self.validation_steps, self.history_steps = validation_steps, history_steps
        self.deciding = f"validation/{deciding}"
        self.trace = Trace()
        self.model: nn.Module
        """At the end of training, on the first rank: with the weights that are kept."""
        self._turns = turns()
        self._told = 0.0
        self._begin = 0.0
        self._spent = 0.0
        self._best: float | None = None
        self._best_state: dict[str, Tensor] = {}
        self._best_validation: dict[str, Interval] = {}
        self._without_better = 0
        self._validated_at = -1
        self._apart_seconds = 0.0
        self._losses: list[float] = []
        """Of the steps since the last row of the history."""
        if resumed is not None:
            self._restore(resumed["monitor"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock, and take back the signals, for which Lightning has set handlers of its own."""
        self.limits.stop.install()
        if self._resumed is not None:
            assert isinstance(pl_module, TrainingModule)
            pl_module.restore_random(self._resumed["random"])
        # Lightning has asked for the first draws already: their time is the first call's.
        self._begin = time.perf_counter() - self.calls.seconds

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each call: time it, and do what is due."""
        assert isinstance(pl_module, TrainingModule)
        losses: list[float] = self._ranks.mean(torch.stack(pl_module.call_losses)).tolist()  # waits for the device
        now = time.perf_counter()
        steps, seconds = len(losses), now - self._begin
        self.trace.calls.append((steps, seconds, pl_module.wait_seconds + self.calls.seconds))
        pl_module.wait_seconds = self.calls.seconds = 0.0
        self._spent += seconds
        step = pl_module.steps_made
        self._follow(pl_module, step - steps, losses, seconds / steps)
        self._tell(step, now, losses[-1])
        self._decide(trainer, pl_module, step, max(1, min(MOST_STEPS_PER_CALL, round(CALL_SECONDS * steps / seconds))))
        self._apart_seconds += self._turns.give_way()
        # What is done here for training's sake is part of the next call's time; validations, checkpoints and another's measuring are not.
        self._begin, self._apart_seconds = now + self._apart_seconds, 0.0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A last validation where the last step had none, and the mean of the weights where one is made, and back to the best where stopping early is on."""
        assert isinstance(pl_module, TrainingModule)
        step = pl_module.steps_made
        if self.trace.stopped is None and self._validated_at != step:
            self._write_history(pl_module, step, self._spent, validating=True)
        if pl_module.average is not None:
            pl_module.average.keep()
        self.model = pl_module.whole()
        if self._best_state:
            self.model.load_state_dict(self._best_state)
            self.trace.validation = self._best_validation

    def _follow(self, module: TrainingModule, before: int, losses: list[float], step_seconds: float) -> None:
        """Write what is due at the steps from `before` on; validations are due only at the last of them."""
        after = before + len(losses)
        for step, loss in enumerate(losses, before + 1):
            _hold(module, "the loss", loss, step)
            self._losses.append(loss)
            if step in self.history_steps or step in self.validation_steps:
                self._write_history(module, step, self._spent - (after - step) * step_seconds)

    def _tell(self, step: int, now: float, loss: float) -> None:
        if now - self._told < _PROGRESS_SECONDS and step < self.calls.steps:
            return
        self._told = now
        # The first step is left out of the rate where there are others: it pays for what is made once.
        first_steps, first_seconds, _ = self.trace.calls[0] if len(self.trace.calls) > 1 else (0, 0.0, 0.0)
        rate = (step - first_steps) / max(1e-9, self._spent - first_seconds)
        remaining = (self.calls.steps - step) / rate
        if self.limits.seconds is not None:
            remaining = min(remaining, max(0.0, self.limits.seconds - self._spent))
        self.emit(Progress(step, self.calls.steps, self._spent, loss, rate * self.calls.sampler.batch_size, remaining))

    def _write_history(self, module: TrainingModule, step: int, spent: float, validating: bool = False) -> None:
        """A row of the history; its loss is the mean over the steps since the row before, however calls divide them."""
        values = {"train/lr": module.learning_rate(step - 1)}
        if self._losses:
            values = {"train/loss": math.fsum(self._losses) / len(self._losses), **values}
            self._losses.clear()
        if validating or step in self.validation_steps:
            begin = time.perf_counter()
            self._validated_at = step
            with module.averaged():
                values |= self._validate(module, module.whole(), step)
            self._apart_seconds += time.perf_counter() - begin
        if self.trace.history and self.trace.history[-1]["step"] == step:
            self.trace.history[-1] |= values
        else:
            self.trace.history.append({"step": step, "seconds": spent, **values})
        self.emit(HistoryRow(step, spent, values))
        if self.limits.ask is not None and self._validated_at == step:
            begin = time.perf_counter()
            told = {**values, "train/time_s": spent, **self.limits.known_before}
            self.limits.ask(Validated(step, self.calls.steps, told))
            self._apart_seconds += time.perf_counter() - begin

    def _validate(self, module: TrainingModule, model: nn.Module, step: int) -> dict[str, float]:
        if self.validate is None:
            return {}
        validation = self.validate(model)
        _hold(module, "the validation loss", validation["loss"].value, step)
        self.trace.validation = validation
        values = {f"validation/{name}": one.value for name, one in validation.items()}
        self._weigh(model, values[self.deciding])
        return values

    def _weigh(self, model: nn.Module, value: float) -> None:
        """Hold a validation to the target and to the best before it."""
        target, better = self.limits.target, self._best is None or improves(self.deciding, value, self._best)
        if (
            target is not None
            and self.trace.seconds_to_target is None
            and (value == target or improves(self.deciding, value, target))
        ):
            self.trace.seconds_to_target = self._spent
        if better:
            self._best, self._without_better = value, 0
            if self.limits.patience:
                self._best_state = {name: one.detach().clone() for name, one in model.state_dict().items()}
                self._best_validation = self.trace.validation
        else:
            self._without_better += 1

    def _decide(self, trainer: pl.Trainer, module: TrainingModule, step: int, size: int) -> None:
        """What the ranks do next, the same for all: as the first one sees it, but for a stop, which any may have been asked for."""
        leads, kept = self._ranks.number == 0, self.checkpoints
        due, ends = kept is not None and kept.due(), leads and self._ends(step)
        ours = [_STOPS.index(self.limits.stop.reason), ends, due, size if leads else 0]
        stop, ends, due, size = (int(one) for one in self._ranks.largest([float(one) for one in ours]))
        self.trace.stopped = _STOPS[stop]
        self.limits.stop.reason = self.limits.stop.reason or self.trace.stopped
        if self.calls.fixed is None:
            self.calls.size = size
        if stop or ends:
            trainer.should_stop = True
        to_go_on = stop and self.trace.stopped != HOPELESS
        if step < self.calls.steps and (to_go_on or due):
            self._keep(module, step, module.random_states())

    def _keep(self, module: TrainingModule, step: int, random: list[dict[str, Tensor]]) -> None:
        begin, kept, state = time.perf_counter(), self.checkpoints, module.state()
        if kept is None:
            return
        try:
            kept.save(step, {"module": state, "random": random, "monitor": self._state()})
        except OSError as error:
            if "no_checkpoint" not in self.trace.flags:
                self.trace.flags.append("no_checkpoint")
            sys.stderr.write(f"{kept.directory}: no checkpoint could be written ({error.strerror}); training goes on\n")
        self._apart_seconds += time.perf_counter() - begin

    def _state(self) -> dict[str, Any]:
        """What is known of the training so far; a run that goes on tells of all of it."""
        trace = self.trace
        return {
            "calls": [list(one) for one in trace.calls],
            "history": trace.history,
            "validation": _as_plain(trace.validation),
            "seconds_to_target": trace.seconds_to_target,
            "flags": trace.flags,
            "best": [self._best, self._without_better, self._best_state, _as_plain(self._best_validation)],
            "losses": self._losses,
            "validated_at": self._validated_at,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        trace = self.trace
        trace.calls = [(steps, seconds, waited) for steps, seconds, waited in state["calls"]]
        trace.history, trace.flags = state["history"], state["flags"]
        trace.validation, trace.seconds_to_target = _as_intervals(state["validation"]), state["seconds_to_target"]
        self._best, self._without_better, self._best_state, best = state["best"]
        self._best_validation = _as_intervals(best)
        self._losses, self._validated_at = state["losses"], state["validated_at"]
        self._spent = trace.seconds

    def _ends(self, step: int) -> bool:
        """Whether training is over before its last step, for want of time or of progress."""
        early = bool(self.limits.patience) and self._without_better >= self.limits.patience
        spent = self.limits.seconds is not None and self._spent >= self.limits.seconds and step < self.calls.steps
        if spent:
            self.trace.flags.append("budget_reached")
        if early and step < self.calls.steps:
            self.trace.flags.append("stopped_early")
        return early or spent


def _as_plain(found: dict[str, Interval]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in found.items()}


def _as_intervals(plain: dict[str, Any]) -> dict[str, Interval]:
    return {name: Interval(**one) for name, one in plain.items()}


def _hold(module: TrainingModule, what: str, loss: float, step: int) -> None:
    """Hold a loss to being a number."""
    if not math.isfinite(loss):
        raise Diverged(f"{what} became {loss} at step {step}; lower optimizer.lr={module.peak_lr:g}, or use precision=fp32")


class _Trainer(pl.Trainer):
    @property
    def received_sigterm(self) -> bool:
        """Never: Lightning would end this rank at once, the others waiting for it, where a stop came before the monitor had taken
        the signals back. The request to stop has it, and the monitor ends all ranks after the same call.
        """
        return False

    def fit(self, *given: Any, **by_name: Any) -> None:
        """Lightning's, which where there is SLURM would have us use its way of starting ranks: ours are started by us."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The `srun` command")
            super().fit(*given, **by_name)


def lightning_trainer(monitor: TrainingMonitor, device: torch.device, directory: str) -> pl.Trainer:
    """Lightning's trainer with no more in its loop than the monitor: what it does besides costs time in each call."""
    return _Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=1 if device.index is None else [device.index],
        plugins=[LightningEnvironment()],  # ranks are ours, whoever has started this process
        max_epochs=1,
        callbacks=[monitor],
        logger=False,
        log_every_n_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=directory,
    )
