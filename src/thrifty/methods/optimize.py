"""method=optimize: the run that a search ends with, its winner's weights, precision and engine, measured as any run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import nn

from thrifty.config.compose import plain
from thrifty.errors import BadConfiguration
from thrifty.events import Preparing
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.methods.compress import CompressMethod
from thrifty.methods.model import load_trained
from thrifty.methods.monitor import Trace
from thrifty.metrics import measured
from thrifty.store import read_record


class OptimizeMethod(CompressMethod):
    """No training and no compressing: both are done. The configuration is that of the winner."""

    verb = "optimised"

    def prepare(self, given: Collection[str], beginning: Beginning = FROM_NOTHING) -> dict[str, Any]:
        """As for a compression.

        Raises:
            BadConfiguration: no search came before.
        """
        if beginning.search is None:
            raise BadConfiguration("method=optimize: begins with a search, which only the command line makes")
        about = super().prepare(given, beginning)
        self.steps, self._search = 0, beginning.search
        about["about"].append(self._search["sentence"])
        return about

    def _about_before(self, run: str) -> str:
        return f"its weights are those of {run}, made for the search or before it"

    def _made(self) -> tuple[Trace, nn.Module]:
        self._record["optimize"] = self._search["rows"]
        self._record["flags"] += self._search["flags"]
        return super()._made()

    def _compressed(self) -> tuple[Trace, nn.Module]:
        return self._without_training(self._model())

    def _taken_over(self, run: Path) -> tuple[Trace, nn.Module]:
        self.emit(Preparing(f"taking over the weights of {run.name}"))
        before = read_record(run)
        trained = load_trained(run, self.device, before["config_hash"], plain(self.config.precision))
        self.form, self._taken = trained.manifest.get("form"), trained.manifest.get("quantized")
        self.findings.metrics["size/converted_modules"] = before["metrics"]["size/converted_modules"]
        self.described = before["compression"]["described"]
        self._record["data"]["about"] += [*self.described, *before["compression"]["about"]]
        return self._without_training(trained.module)

    def _write_weights(self, model: nn.Module) -> None:
        sparse = self._taken is None and "size/file_sparse_mib" in self.dense_record["metrics"]
        self.findings.weights(model, self.form, sparse, self._taken)

    def _tell_cost(self) -> None:
        """What the model cost is what finding it took."""
        self.findings.metrics["compress/time_s"] = measured(self._search["seconds"])
