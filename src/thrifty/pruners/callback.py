"""Prunes a LightningModule of one's own while it trains."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch.optim import Optimizer

from thrifty.errors import Unsupported
from thrifty.layers.calibration import Calibration
from thrifty.pruners.base import MaskPruner
from thrifty.pruners.masking import Masking


class PruningCallback(pl.Callback):
    """Makes masks at the steps that are due, holds them after every optimiser step, and saves them in Lightning's checkpoints.

    For automatic optimisation. With several processes every one makes its own masks, and the same ones, as their weights and
    gradients are the same; give each the same calibration.

    Args:
        pruner: whose masks; its names are those of the LightningModule, such as `model.head.weight`.
        due: sparsity by the number of the optimiser step, counted from 0, before which it is to be reached: as `due_steps` gives it.
        calibration: for pruners that look at activations; moved to the module's device.
    """

    def __init__(self, pruner: MaskPruner, due: Mapping[int, float], calibration: Calibration | None = None) -> None:
        self.pruner, self.due, self.calibration = pruner, dict(sorted(due.items())), calibration
        self.masking: Masking | None = None
        """None until training starts, or without masks until the first pruning."""
        self._seen = -1
        """Optimiser step up to which all that was due is done."""
        self._kept: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up a checkpoint's masks, and prune what is due before the first step.

        Raises:
            Unsupported: manual optimisation, or nothing to prune.
            BadData: a checkpoint's masks that do not fit the module.
        """
        if not pl_module.automatic_optimization:
            raise Unsupported(
                "PruningCallback: the module optimises by hand, and between its steps nothing could hold the masks; use "
                "thrifty.pruners.masking.Masking after each of them"
            )
        if self.masking is None or self.masking.model is not pl_module:
            self.masking = Masking(pl_module)
        if self._kept is not None:
            self.masking.restore(self._kept["masks"])
            self.pruner.restore(self._kept["pruner"])
            self._seen, self._kept = self._kept["seen"], None
        else:  # a further fit of the same module begins its steps anew, with the masks that it has
            self._seen = -1
        self._prune(trainer, pl_module, self.masking)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer) -> None:
        """Show the pruner the gradients, as long as there is more to prune."""
        if any(step > self._seen for step in self.due):
            self.pruner.observe(pl_module, optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prune what is due before the next step, and hold the masks if this batch ended one."""
        if self.masking is not None and trainer.global_step > self._seen:
            self._prune(trainer, pl_module, self.masking)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn if training ended before the last pruning."""
        last = max(self.due, default=-1)
        if last > self._seen:
            sparsity = 0.0 if self.masking is None else self.masking.sparsity
            rank_zero_warn(
                f"training ended after {self._seen} steps, before the pruning due at {last}: sparsity is {sparsity:g}, not "
                f"{self.due[last]:g}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Lightning's hook: masks, what the pruner has gathered, and how far pruning is."""
        if self.masking is None:
            return self._kept or {}
        return {"masks": self.masking.state(), "pruner": self.pruner.state(), "seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's hook; taken up when training starts, as the module is not known here."""
        self._kept = dict(state_dict) or None

    def _prune(self, trainer: pl.Trainer, pl_module: pl.LightningModule, masking: Masking) -> None:
        """Reach the sparsity due by now, and hold."""
        step = trainer.global_step
        waiting = [sparsity for at, sparsity in self.due.items() if self._seen < at <= step]
        if waiting:
            masks = self.pruner.masks(pl_module, waiting[-1], self._calibration(pl_module), masking.masks)
            masking.tighten(masks)
        masking.hold()
        self._seen = step

    def _calibration(self, pl_module: pl.LightningModule) -> Calibration | None:
        if self.calibration is None:
            return None
        batches = [(inputs.to(pl_module.device), targets.to(pl_module.device)) for inputs, targets in self.calibration.batches]
        return dataclasses.replace(self.calibration, batches=batches)
