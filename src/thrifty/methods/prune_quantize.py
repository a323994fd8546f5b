"""method=prune_quantize: a model that was pruned first gets fewer bits; both are held against the dense one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import nn

from thrifty.config.compose import plain
from thrifty.errors import ThriftyError
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.methods.model import load_trained
from thrifty.methods.quality_loss import Scores
from thrifty.methods.quantize import QuantizeMethod
from thrifty.metrics import measured
from thrifty.store import find_run, read_record

_OF_BOTH = ("compress/time_s", "compress/flops")


class PruneQuantizeMethod(QuantizeMethod):
    """As method=quantize of the pruned model; what pruning cost is part of what this costs."""

    def prepare(self, given: Collection[str], beginning: Beginning = FROM_NOTHING) -> dict[str, Any]:
        """As for quantising.

        Raises:
            BadConfiguration, BadData, Unsupported: as there.
        """
        about = super().prepare(given, beginning)
        self.parents = [*self.parents, *self.dense_record["parents"]]
        return about

    def _dense_scores(self, model: nn.Module) -> Scores | None:
        try:
            path = find_run(Path(self.config.store), self.parents[-1])
            trained = load_trained(path, self.device, read_record(path)["config_hash"], plain(self.config.precision))
        except ThriftyError as error:  # of another store, or cleared from the cache
            self._record["data"]["about"].append(
                f"max_quality_loss bounds what quantising alone costs: the dense model is not to be had ({error})"
            )
            return None
        return self._scores(trained.module.eval())

    def _tell_cost(self) -> None:
        super()._tell_cost()
        metrics, pruning = self.findings.metrics, self.dense_record["metrics"]
        if "compress/sparsity" in pruning:
            metrics["compress/sparsity"] = pruning["compress/sparsity"]
        if self._before is not None:  # what is taken over holds both
            return
        for name in _OF_BOTH:
            first, second = pruning.get(name, {}).get("value"), metrics.get(name, {}).get("value")
            if first is not None:
                metrics[name] = measured(first + (second or 0))
