"""method=quantize: give the numbers of a trained model fewer bits, train it a little more where asked, measure it as any run."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection
from typing import Any

from torch import nn

from thrifty.config import registry
from thrifty.config.choices.methods import Quantize
from thrifty.config.compose import plain
from thrifty.errors import Unsupported
from thrifty.events import Preparing
from thrifty.execution.beginning import FROM_NOTHING, Beginning
from thrifty.layers import rounding
from thrifty.methods.compress import CompressMethod
from thrifty.methods.layer_choice import LayerChoice
from thrifty.methods.monitor import Trace
from thrifty.methods.quality_loss import Scores, difference_between, loss_between
from thrifty.metrics import measured
from thrifty.quantizers.base import Quantizer, Ranges
from thrifty.quantizers.int8_static import Int8Static
from thrifty.record import cpu_isa

_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimd")
"""Instruction sets whose integer products add up in 32 bits."""


class QuantizeMethod(CompressMethod):
    """A trained model with fewer bits; with a training before it, of the schemes that want one."""

    verb = "quantised"
    carried = ("sensitivity", "choice")

    def prepare(self, given: Collection[str], beginning: Beginning = FROM_NOTHING) -> dict[str, Any]:
        """As for a training; and hold the quantizer to the device and the model.

        Raises:
            BadConfiguration: a pattern in `keep` that names nothing.
            BadData: fewer training examples than calibration is to look at.
            Unsupported: the device cannot run the scheme, or nothing of the model can be converted.
        """
        config = self.config
        assert isinstance(config.method, Quantize)
        assert config.quantizer is not None
        self.method = config.method
        self.quantizer: Quantizer = registry.load("quantizer", config.quantizer.name)(config.quantizer)
        if (reason := self.quantizer.unsupported(self.device.type)) is not None:
            raise Unsupported(reason)
        about = super().prepare(given, beginning)
        self.steps = round(self.method.finetune * self.steps) if config.quantizer.TRAINS else 0
        self.targets = self.quantizer.targets(self._fresh("meta"))
        self.layers = self.targets.layers
        if not self.layers:
            raise Unsupported(
                f"quantizer={config.quantizer.name}: no layer of the model can be converted; {self.targets.sentence}"
            )
        self.described = [self.targets.sentence]
        if self.quantizer.calibrates:
            self._check_calibration(self.method.calibration)
            self.described.append(f"scales of activations are those of {self.method.calibration} training examples")
        if self.device.type == "cpu" and "int8" in config.quantizer.name and not set(cpu_isa()) & set(_INT8):
            self.described.append(
                "this processor multiplies integers in 16 bits (it has no VNNI): sums of two products may saturate, and nothing says so"
            )
        about["about"] += self.described
        return about

    def _compressed(self) -> tuple[Trace, nn.Module]:
        model, begin = self._model(), time.perf_counter()
        dense = None if self.config.max_quality_loss is None else self._dense_scores(model)
        judging_s = time.perf_counter() - begin
        trace, model = self._trained(model)
        if trace is not None and trace.stopped:
            return trace, model
        begin = time.perf_counter() - judging_s
        ranges = self._ranges(model)
        if self.method.sensitivity or self.config.max_quality_loss is not None:
            self._choose(model, ranges, dense)
        if self.stop.reason is not None:
            return trace or Trace(), model
        quantised = self._converted(model, self.layers, ranges)
        self.compressing_s = time.perf_counter() - begin
        if trace is None:
            return self._without_training(quantised)
        trace.validation = self.data.summarise(self._validation_scores(quantised))
        flags = self._record["flags"]
        flags[:] = [one for one in flags if one not in trace.flags]  # told once
        self._keep_training(trace, self._memory)
        return trace, quantised

    def _dense_scores(self, model: nn.Module) -> Scores | None:
        """Of the model that the run is held against; None where it is the one that is quantised."""
        return self._scores(copy.deepcopy(model).eval()) if self.steps else None

    def _trained(self, model: nn.Module) -> tuple[Trace | None, nn.Module]:
        """With rounded numbers, where the scheme is for that."""
        if not self.steps:
            return None, model.eval()
        trace, model = self._train(model)
        return trace, model.eval()

    def _train(self, model: nn.Module) -> tuple[Trace, nn.Module]:
        """Of every rank, not only of the one that leads."""
        rounding.attach(model, self.layers, self.quantizer.rounded, self.quantizer.rounds_inputs)
        trace, model = super()._train(model)
        rounding.detach(model, self.layers)
        return trace, model

    def _ranges(self, model: nn.Module) -> Ranges | None:
        if not isinstance(self.quantizer, Int8Static):
            return None
        self.emit(Preparing(f"calibrating on {self.method.calibration} examples"))
        return self.quantizer.observe(model, self.layers, self._calibration(self.method.calibration))

    def _converted(self, model: nn.Module, layers: list[str], ranges: Ranges | None) -> nn.Module:
        quantised = copy.deepcopy(model)
        self.quantizer.convert(quantised, layers, ranges)
        return quantised.eval()

    def _choose(self, model: nn.Module, ranges: Ranges | None, dense: Scores | None) -> None:
        """Which layers to spare: by what each costs alone, until what all others cost is within the bound."""

        def scores_with(layers: list[str]) -> Scores:
            return self._scores(self._converted(model, layers, ranges))

        bound, before = self.config.max_quality_loss, self._scores(model)
        rows: list[dict[str, Any]] = []
        choice = LayerChoice(self.layers, bound, None if dense is None else loss_between(self.data, dense, before))
        against = before if dense is None else dense
        if bound is not None:
            self.emit(Preparing("evaluating with every layer quantised"))
            choice.tell([], loss_between(self.data, against, scores_with(self.layers)))
        if self.method.sensitivity or not (choice.met or choice.hopeless):
            costs: dict[str, float] = {}
            for place, name in enumerate(self.layers, 1):
                if self.stop.reason is not None:
                    return
                self.emit(Preparing(f"sensitivity: {name}, {place} of {len(self.layers)} layers"))
                scores = scores_with([name])
                value = self.data.glance(scores)[self.data.deciding].value
                difference = difference_between(self.data, before, scores)
                costs[name] = loss_between(self.data, before, scores).value
                weights = sum(one.numel() for one in model.get_submodule(name).parameters())
                row = {"layer": f"{name}.weight", "weights": weights, "value": value, "difference": difference.value}
                rows.append(row | {"low": difference.low, "high": difference.high})
            self._record["sensitivity"] = rows
            if bound is not None:
                for spared in choice.rounds(costs):
                    if self.stop.reason is not None:
                        return
                    self.emit(Preparing(f"evaluating with {len(spared)} layers spared"))
                    left = [one for one in self.layers if one not in spared]
                    choice.tell(spared, loss_between(self.data, against, scores_with(left)))
        if bound is not None:
            self.layers = [one for one in self.layers if one not in choice.spared]
            self._record["choice"] = choice.rows()
            self._record["data"]["about"].append(choice.sentence())
            self._record["flags"] += choice.flags()
            if not self.layers:
                raise Unsupported(
                    f"max_quality_loss={bound:g}: no layer can be quantised within it; give more, or another quantizer"
                )

    def _write_weights(self, model: nn.Module) -> None:
        if self._before is not None:
            assert self._taken is not None
            quantized = self._taken
        else:
            quantized = {"quantizer": plain(self.config.quantizer), "layers": self.layers}
        self.findings.weights(model, self.form, quantized=quantized)
        self.findings.metrics["size/converted_modules"] = measured(len(quantized["layers"]), n=self.targets.total)
