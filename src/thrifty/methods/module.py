"""The LightningModule that trains: one call makes one or many optimiser steps on data that lies on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from thrifty.config.schema import Regularizer
from thrifty.methods.data_parallel import Alone
from thrifty.methods.sampler import Batches
from thrifty.methods.weight_average import WeightAverage
from thrifty.precisions.base import Precision
from thrifty.tasks.base import Data


class Upkeep(Protocol):
    """What holds weights to something while they are trained."""

    def before_step(self, lr: float) -> None:
        """Gradients are there; the optimiser has not moved yet."""
        ...

    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """After so many optimiser steps."""
        ...

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        ...


class TrainingModule(pl.LightningModule):
    """Minimises L(theta) + lambda R(theta) over a task's training split.

    Lightning's loop costs about a fifth of a millisecond a call. A call therefore takes several batches and makes an
    optimiser step on each; with one batch a call it is Lightning's usual way. Optimisation is manual because of that,
    and the precision's context is entered once a forward pass: held over several optimiser steps, autocast would go on
    with the weights it cast before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        optimizer: torch.optim.Optimizer,
        peak_lr: float,
        lr_factor: Callable[[int], float],
        precision: Precision,
        regularizer: Regularizer,
        clip: float = 0.0,
        average: WeightAverage | None = None,
        ranks: Alone | None = None,
        wrapped: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.data, self.optimizer, self.precision, self.regularizer = data, optimizer, precision, regularizer
        self.peak_lr, self.lr_factor, self.clip, self.average = peak_lr, lr_factor, clip, average
        self._ranks = ranks or Alone()
        self._wrapped = [wrapped or model]  # in a list: its parameters are the model's, and are not to be found twice
        self.forward_pass: Callable[[Tensor], Tensor] = self.wrapped.__call__
        """The model, or what computes the same faster."""
        self.most_at_once = data.most_at_once
        """Examples in one forward pass; a batch of more is computed in parts."""
        self.scaler = torch.amp.GradScaler(next(model.parameters()).device.type) if precision.scales_losses else None
        self.upkeep: Upkeep | None = None
        """What is done to the weights at every optimiser step besides."""
        self.steps_made = 0
        self.wait_seconds = 0.0
        """Time spent getting batches; the monitor sets it back."""
        self.call_losses: list[Tensor] = []
        """Mean loss of each batch of the last call, without the penalties; scalars on the device."""
        self._trained = [one for group in optimizer.param_groups for one in group["params"]]
        self._penalised = [one for one in model.parameters() if one.ndim >= 2] if regularizer.l1 or regularizer.l2 else []

    @property
    def wrapped(self) -> nn.Module:
        """The model as the ranks train it together; itself where there is one."""
        return self._wrapped[0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook."""
        return self.optimizer

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The data has put the batches on the device; draws stay where they are."""
        return batch

    def training_step(self, batches: Batches, batch_idx: int) -> None:
        """Optimiser steps on batches, or on what their draws draw, one after the other."""
        # Writing an attribute of a torch module takes a microsecond or two: what counts along is written once a call.
        losses: list[Tensor] = []
        for batch in batches:
            self._set_learning_rate(self.steps_made + len(losses))
            for parameter in self._trained:  # what zero_grad does, without its profiling: 2 % of a small MLP's step
                parameter.grad = None
            losses.append(self.backward_in_parts(batch) if isinstance(batch, Tensor) else self.backward_whole(*batch))
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            if self.clip:
                nn.utils.clip_grad_norm_(self._trained, self.clip)
            if self.upkeep is not None:
                self.upkeep.before_step(self.learning_rate(self.steps_made + len(losses) - 1))
            if self.scaler is None:
                self.optimizer.step()
            else:  # makes no step where a gradient is infinite, and scales less from then on
                self.scaler.step(self.optimizer)
                self.scaler.update()
            if self.upkeep is not None:
                self.upkeep.after_step(self.steps_made + len(losses), self.optimizer)
            if self.average is not None:
                self.average.update()
        self.steps_made += len(losses)
        self.call_losses = losses

    def backward_whole(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Gradients of the mean loss over a batch; returns that loss, without the penalties."""
        loss = self._loss(inputs, targets)
        penalty = self._penalty()
        self._backward(loss if penalty is None else loss + penalty)
        return loss.detach()

    def backward_in_parts(self, draws: Tensor) -> Tensor:
        """The same gradients for a batch too large to be computed at once, summed over parts of it."""
        total = torch.zeros((), device=self.device)
        parts = draws.split(self.most_at_once)
        for number, part in enumerate(parts, 1):
            begin = time.perf_counter()
            inputs, targets = self.data.batch("train", part)
            self.wait_seconds += time.perf_counter() - begin
            with nullcontext() if number == len(parts) else self._ranks.apart(self.wrapped):
                loss = self._loss(inputs, targets) * (len(part) / len(draws))
                self._backward(loss)
            total += loss.detach()
        penalty = self._penalty()
        if penalty is not None:
            self._backward(penalty)
        return total

    def _backward(self, loss: Tensor) -> None:
        with self.precision.backward_context(loss.device.type):
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        with self.precision.context(inputs.device.type):
            outputs = self.forward_pass(inputs)
        wide = outputs if outputs.dtype is torch.float64 else outputs.float()
        return self.data.loss(wide, targets, self.regularizer.label_smoothing or 0.0)

    def _penalty(self) -> Tensor | None:
        """Lambda R(theta): l1 * sum |w| + l2 * sum w^2 over weight matrices; biases and norms are left out."""
        if not self._penalised:
            return None
        penalty = torch.zeros((), device=self.device)
        for weight in self._penalised:
            if self.regularizer.l1:
                penalty = penalty + self.regularizer.l1 * weight.float().abs().sum()
            if self.regularizer.l2:
                penalty = penalty + self.regularizer.l2 * weight.float().square().sum()
        return penalty

    def whole(self) -> nn.Module:
        """The model with all of its weights, on the first rank; every rank asks."""
        return self._ranks.whole(self.model)

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, but for the random numbers, on the first rank; every rank asks."""
        of_model, of_optimizer = self._ranks.state(self.model, self.optimizer)
        return {
            "steps_made": self.steps_made,
            "model": of_model,
            "optimizer": of_optimizer,
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "upkeep": None if self.upkeep is None else self.upkeep.state(),
        }

    def random_states(self) -> list[dict[str, Tensor]]:
        """Where the random numbers of every rank stand."""
        ours = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            ours["cuda"] = torch.cuda.get_rng_state(self.device)
        every = {name: self._ranks.gather(one) for name, one in ours.items()}
        return [{name: ones[number] for name, ones in every.items()} for number in range(self._ranks.of)]

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.steps_made = state["steps_made"]
        self._ranks.restore(self.model, self.optimizer, state["model"], state["optimizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.restore(state["average"])
        if self.upkeep is not None:
            self.upkeep.restore(state["upkeep"])

    def restore_random(self, states: list[dict[str, Tensor]]) -> None:
        """Go on from what `random_states` gave, last of all before the next step."""
        ours = states[self._ranks.number]
        torch.set_rng_state(ours["cpu"])
        if "cuda" in ours:
            torch.cuda.set_rng_state(ours["cuda"], self.device)

    def averaged(self) -> AbstractContextManager[Any]:
        """Within it the model has the weights that are validated and kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def learning_rate(self, step: int) -> float:
        """Of the optimiser step with this number, counted from 0."""
        return self.peak_lr * self.lr_factor(step)

    def _set_learning_rate(self, step: int) -> None:
        lr = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
