"""Every choice of every group: its schema, and where its code lives. Nothing is imported until it is asked for."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from thrifty.config import choices


@dataclass(frozen=True)
class Choice:
    """One value of a group."""

    schema: type
    entry: str
    """`module:attribute` of what makes it."""

    def load(self) -> Any:
        """Import the module and return the attribute."""
        module, attribute = self.entry.split(":")
        return getattr(importlib.import_module(module), attribute)


CHOICES: dict[str, dict[str, Choice]] = {
    "task": {
        "text": Choice(choices.Text, "thrifty.tasks.text:TextTask"),
        "tabular": Choice(choices.Tabular, "thrifty.tasks.tabular:TabularTask"),
    },
    "architecture": {
        "gpt": Choice(choices.Gpt, "thrifty.architectures.gpt:build"),
        "mlp": Choice(choices.Mlp, "thrifty.architectures.mlp:build"),
    },
    "method": {"train": Choice(choices.Train, "thrifty.methods.train:TrainMethod")},
    "optimizer": {
        "adam": Choice(choices.Adam, "thrifty.optimizers.adam:build"),
        "adamw": Choice(choices.AdamW, "thrifty.optimizers.adamw:build"),
        "sgd": Choice(choices.Sgd, "thrifty.optimizers.sgd:build"),
    },
    "schedule": {
        "constant": Choice(choices.Constant, "thrifty.schedules.constant:build"),
        "cosine": Choice(choices.Cosine, "thrifty.schedules.cosine:build"),
        "inverse_time": Choice(choices.InverseTime, "thrifty.schedules.inverse_time:build"),
    },
    "precision": {
        "fp32": Choice(choices.Fp32, "thrifty.precisions.fp32:build"),
        "bf16": Choice(choices.Bf16, "thrifty.precisions.bf16:build"),
        "fp16": Choice(choices.Fp16, "thrifty.precisions.fp16:build"),
    },
    "budget": {
        "quick": Choice(choices.Quick, "thrifty.config.choices:Quick"),
        "full": Choice(choices.Full, "thrifty.config.choices:Full"),
    },
    "measure": {
        "quick": Choice(choices.QuickMeasure, "thrifty.config.choices:QuickMeasure"),
        "full": Choice(choices.FullMeasure, "thrifty.config.choices:FullMeasure"),
        "none": Choice(choices.NoMeasure, "thrifty.config.choices:NoMeasure"),
    },
    "logger": {
        "wandb": Choice(choices.Wandb, "thrifty.sinks.wandb:WandbSink"),
        "none": Choice(choices.NoLogger, "thrifty.sinks.none:NoSink"),
    },
}


def load(group: str, name: str) -> Any:
    """What makes the choice `name` of `group`, imported now."""
    return CHOICES[group][name].load()
