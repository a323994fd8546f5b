"""What every compression does: it begins with a dense model, is held against it, and says what it cost."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from thrifty.errors import BadData
from thrifty.events import Preparing
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.layers.calibration import Calibration
from thrifty.measure.energy import EnergyMeter
from thrifty.measure.memory import PeakHostMemory
from thrifty.methods.evaluate import predictor, scores_of
from thrifty.methods.model import build_model, load_trained
from thrifty.methods.monitor import Trace
from thrifty.methods.train import TrainMethod
from thrifty.metrics import measured
from thrifty.store import read_record

_CALIBRATION_BATCH = 32
_OF_THEN = ("compress/time_s", "compress/flops", "train/mfu_pct")
"""Metrics of a compression that another run has made, whatever the machine does now."""


class CompressMethod(TrainMethod):
    """A training, of no step where there is none, of a model that another run has trained; its result is smaller in some sense."""

    verb: ClassVar[str]
    """What is done to the dense model, as in `pruned from RUN`."""
    carried: ClassVar[tuple[str, ...]] = ()
    """Parts of the record that a run takes over with an equal compression."""
    _taken: dict[str, Any] | None = None
    compressing_s = 0.0
    """Seconds that compressing took, fine-tuning not counted."""
    described: Sequence[str] = ()
    """Sentences on how it compresses, which a run that takes over its weights tells as well."""

    def prepare(self, given: Collection[str], beginning: Beginning = FROM_NOTHING) -> dict[str, Any]:
        """As for a training.

        Raises:
            BadConfiguration: the dense model is of another architecture or shape.
        """
        about = super().prepare(given, beginning)
        assert self._initial is not None
        self._before, self._candidate = beginning.compressed, beginning.candidate
        if self._before is not None:
            about["about"].append(self._about_before(self._before.name))
        self.dense_record, self._dense_form = read_record(self._initial), self.form
        about["about"].append(f"{self.verb} from {self.dense_record['id']}")
        if self.dense_record["data"].get("sha256") != self.data.fingerprint:
            about["about"].append("the dense model was trained on other data: its quality is that of other examples")
        return about

    def _about_before(self, run: str) -> str:
        """A sentence on what is taken over from an equal compression."""
        return f"compressed as in {run}, made before: what training and compressing took is from there"

    def run(self, directory: Any) -> tuple[str, str | None]:
        """As a training; and say what compressing cost.

        Raises:
            Diverged: the loss became infinite or not a number.
            Unsupported: nothing of the model can be compressed, or not as much.
        """
        self._record = directory.record
        status, reason = super().run(directory)
        if status == "ok":
            self._tell_cost()
        return status, reason

    def _made(self) -> tuple[Trace, nn.Module]:
        self._told = len(self._record["flags"]), len(self._record["data"]["about"])
        return self._compressed() if self._before is None else self._taken_over(self._before)

    @abstractmethod
    def _compressed(self) -> tuple[Trace, nn.Module]:
        """The compressed model, made now."""

    def _taken_over(self, run: Path) -> tuple[Trace, nn.Module]:
        """What an equal compression has left."""
        self.emit(Preparing(f"taking over the compression of {run.name}"))
        before = read_record(run)
        trained = load_trained(run, self.device, before["config_hash"])
        self.form = trained.manifest.get("form")
        self._taken = trained.manifest.get("quantized")
        self._checkpoint_bytes = 0
        self._record |= {name: before[name] for name in self.carried if name in before}
        self._record["flags"] += before["compression"]["flags"]
        self._record["data"]["about"] += before["compression"]["about"]
        return self.findings.training_of(run), trained.module

    def _keep_training(self, trace: Trace, memory: PeakHostMemory) -> None:
        self._memory = memory
        super()._keep_training(trace, memory)

    def _scores(self, model: nn.Module) -> dict[str, np.ndarray]:
        """Of every example of the validation split."""
        return scores_of(predictor(model, self.precision, self.device), self.data, "validation", None)

    def _fresh(self, device: str) -> nn.Module:
        with torch.device(device):
            model = build_model(self.config.architecture, self.data.shape, self.config.regularizer.dropout or 0.0)
        return self._in_form(model)

    def _check_calibration(self, examples: int) -> None:
        if examples > self.data.sizes["train"]:
            raise BadData(
                f"method.calibration={examples}: the training split has {self.data.sizes['train']} examples; give fewer, or more data"
            )

    def _calibration(self, examples: int) -> Calibration:
        """The same examples each time, drawn from the training split."""
        drawn = torch.randperm(self.data.sizes["train"], generator=torch.Generator().manual_seed(self.config.seed))
        batches = [self.data.batch("train", one) for one in drawn[:examples].split(_CALIBRATION_BATCH)]

        def forward(module: nn.Module, inputs: Tensor) -> Tensor:
            with self.precision.context(self.device.type):
                return module(inputs).float()

        return Calibration(batches, self.data.loss, forward)

    def _train(self, model: nn.Module) -> tuple[Trace, nn.Module]:
        return super()._train(model) if self.steps else self._without_training(model)

    def _without_training(self, model: nn.Module) -> tuple[Trace, nn.Module]:
        trace = Trace()
        if not self.rank.leads:
            return trace, model
        memory, self._energy = PeakHostMemory(), EnergyMeter(self.device)
        with memory, self._energy:
            trace.validation = self.data.summarise(self._validation_scores(model.eval()))
        self._keep_training(trace, memory)
        self._checkpoint_bytes = 0
        return trace, model

    def _save(self, model: nn.Module) -> None:
        self._finished = model
        self._write_weights(model)
        flags, about = self._told
        self._record["compression"] = {
            "run": self._record["id"] if self._before is None else read_record(self._before)["compression"]["run"],
            "flags": self._record["flags"][flags:],
            "about": self._record["data"]["about"][about:],
            "described": list(self.described),
        }

    @abstractmethod
    def _write_weights(self, model: nn.Module) -> None:
        """Keep the compressed model, and say how far it was compressed."""

    def _look_at(self, model: nn.Module, trace: Trace, its_hash: str) -> None:
        if self._candidate:
            self.findings.untouched("made for a search to judge")
        else:
            super()._look_at(model, trace, its_hash)

    def _tell_cost(self) -> None:
        metrics = self.findings.metrics
        if self._before is not None:
            of_then = read_record(self._before)["metrics"]
            metrics.update({name: of_then[name] for name in _OF_THEN if name in of_then})
            return
        metrics["compress/time_s"] = measured(self.compressing_s + metrics["train/time_s"]["value"])
        flops = metrics.get("train/flops")
        if flops is not None and flops["value"] is not None:
            metrics["compress/flops"] = self._cost_in_flops(flops["value"])

    def _cost_in_flops(self, training: float) -> dict[str, Any]:
        """The entry of `compress/flops`, where the training that is kept took so many."""
        return measured(training)
