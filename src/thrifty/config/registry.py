"""Every choice of every group: its schema, and where its code lives. Nothing is imported until it is asked for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from thrifty.config.choices.architectures import Gpt, Mlp, Resnet, Vit
from thrifty.config.choices.budgets import Budget
from thrifty.config.choices.engines import Compile, Engine
from thrifty.config.choices.loggers import Logger, Wandb
from thrifty.config.choices.measures import Measure
from thrifty.config.choices.methods import Method, Optimize, Prune, PruneQuantize, Quantize
from thrifty.config.choices.optimizers import (
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    Muon,
    Nesterov,
    RmsProp,
    Sgd,
)
from thrifty.config.choices.precisions import Bf16, Precision
from thrifty.config.choices.pruners import NM, LayerDrop, Movement, Pruner, Scoped, Structured
from thrifty.config.choices.quantizers import Aware, AwareGrouped, Grouped, Quantizer, Static
from thrifty.config.choices.schedules import Cosine, InverseTime, OneCycle, Schedule, Step, WarmupStableDecay
from thrifty.config.choices.tasks import Image, Tabular, Text


@dataclass(frozen=True)
class Choice:
    """One value of a group."""

    schema: type
    entry: str | None = None
    """`module:attribute` of what makes it; None where its values are all there is to it."""

    @property
    def module(self) -> str | None:
        """Where its code lives."""
        return None if self.entry is None else self.entry.split(":")[0]

    def load(self, companion: str | None = None) -> Any:
        """Import the module and return the attribute, or another one of the same module by its name."""
        assert self.entry is not None, f"{self.schema.__name__} is made of values only"
        module, attribute = self.entry.split(":")
        return getattr(importlib.import_module(module), companion or attribute)


CHOICES: dict[str, dict[str, Choice]] = {
    "task": {
        "text": Choice(Text, "thrifty.tasks.text:TextTask"),
        "tabular": Choice(Tabular, "thrifty.tasks.tabular:TabularTask"),
        "image": Choice(Image, "thrifty.tasks.image:ImageTask"),
    },
    "architecture": {
        "gpt": Choice(Gpt, "thrifty.architectures.gpt:build"),
        "mlp": Choice(Mlp, "thrifty.architectures.mlp:build"),
        "vit": Choice(Vit, "thrifty.architectures.vit:build"),
        "resnet": Choice(Resnet, "thrifty.architectures.resnet:build"),
    },
    "method": {
        "train": Choice(Method, "thrifty.methods.train:TrainMethod"),
        "prune": Choice(Prune, "thrifty.methods.prune:PruneMethod"),
        "quantize": Choice(Quantize, "thrifty.methods.quantize:QuantizeMethod"),
        "prune_quantize": Choice(PruneQuantize, "thrifty.methods.prune_quantize:PruneQuantizeMethod"),
        "optimize": Choice(Optimize, "thrifty.methods.optimize:OptimizeMethod"),
    },
    "pruner": {
        "magnitude": Choice(Scoped, "thrifty.pruners.magnitude:build"),
        "random": Choice(Scoped, "thrifty.pruners.random:build"),
        "n_m": Choice(NM, "thrifty.pruners.n_m:build"),
        "wanda": Choice(Pruner, "thrifty.pruners.wanda:build"),
        "movement": Choice(Movement, "thrifty.pruners.movement:build"),
        "structured_l1": Choice(Structured, "thrifty.pruners.structured_l1:build"),
        "structured_taylor": Choice(Structured, "thrifty.pruners.structured_taylor:build"),
        "layer_drop": Choice(LayerDrop, "thrifty.pruners.layer_drop:build"),
    },
    "quantizer": {
        "int8_dynamic": Choice(Quantizer, "thrifty.quantizers.int8_dynamic:build"),
        "int8_weight": Choice(Quantizer, "thrifty.quantizers.int8_weight:build"),
        "int8_static": Choice(Static, "thrifty.quantizers.int8_static:build"),
        "int4_weight": Choice(Grouped, "thrifty.quantizers.int4_weight:build"),
        "fp8_dynamic": Choice(Quantizer, "thrifty.quantizers.fp8_dynamic:build"),
        "fp8_weight": Choice(Quantizer, "thrifty.quantizers.fp8_weight:build"),
        # The same schemes, trained a little more with what they will round already rounded.
        "qat_int8": Choice(Aware, "thrifty.quantizers.int8_dynamic:build"),
        "qat_int4": Choice(AwareGrouped, "thrifty.quantizers.int4_weight:build"),
    },
    "optimizer": {
        "adam": Choice(Adam, "thrifty.optimizers.adam:build"),
        "adamw": Choice(AdamW, "thrifty.optimizers.adamw:build"),
        "sgd": Choice(Sgd, "thrifty.optimizers.sgd:build"),
        "momentum": Choice(Momentum, "thrifty.optimizers.momentum:build"),
        "nesterov": Choice(Nesterov, "thrifty.optimizers.nesterov:build"),
        "adagrad": Choice(Adagrad, "thrifty.optimizers.adagrad:build"),
        "rmsprop": Choice(RmsProp, "thrifty.optimizers.rmsprop:build"),
        "lion": Choice(Lion, "thrifty.optimizers.lion:build"),
        "muon": Choice(Muon, "thrifty.optimizers.muon:build"),
        "adafactor": Choice(Adafactor, "thrifty.optimizers.adafactor:build"),
    },
    "schedule": {
        "constant": Choice(Schedule, "thrifty.schedules.constant:build"),
        "cosine": Choice(Cosine, "thrifty.schedules.cosine:build"),
        "inverse_time": Choice(InverseTime, "thrifty.schedules.inverse_time:build"),
        "step": Choice(Step, "thrifty.schedules.step:build"),
        "one_cycle": Choice(OneCycle, "thrifty.schedules.one_cycle:build"),
        "warmup_stable_decay": Choice(WarmupStableDecay, "thrifty.schedules.warmup_stable_decay:build"),
    },
    "precision": {
        "fp32": Choice(Precision, "thrifty.precisions.fp32:build"),
        "tf32": Choice(Precision, "thrifty.precisions.tf32:build"),
        "bf16": Choice(Bf16, "thrifty.precisions.bf16:build"),
        "fp16": Choice(Precision, "thrifty.precisions.fp16:build"),
        "fp8": Choice(Precision, "thrifty.precisions.fp8:build"),
    },
    "budget": {"quick": Choice(Budget), "full": Choice(Budget)},
    "measure": {"quick": Choice(Measure), "full": Choice(Measure), "none": Choice(Measure)},
    "engine": {
        "eager": Choice(Engine, "thrifty.engines.eager:build"),
        "compile": Choice(Compile, "thrifty.engines.compile:build"),
        "aot": Choice(Engine, "thrifty.engines.aot:build"),
        "semi_structured": Choice(Engine, "thrifty.engines.semi_structured:build"),
        "onnxruntime": Choice(Engine, "thrifty.engines.onnxruntime:build"),
        "openvino": Choice(Engine, "thrifty.engines.openvino:build"),
    },
    "logger": {
        "wandb": Choice(Wandb, "thrifty.sinks.wandb:WandbSink"),
        "none": Choice(Logger, "thrifty.sinks.none:NoSink"),
    },
}


ONLY_WITH = {
    "pruner": ("prune", "prune_quantize"),
    "sparsity": ("prune", "prune_quantize"),
    "quantizer": ("quantize", "prune_quantize"),
    "max_quality_loss": ("prune", "quantize", "prune_quantize", "optimize"),
    "objective": ("optimize",),
}
"""Groups and keys that go with some methods only, and which."""


def load(group: str, name: str, companion: str | None = None) -> Any:
    """What makes the choice `name` of `group`, or its `companion` in the same module, imported now."""
    return CHOICES[group][name].load(companion)
