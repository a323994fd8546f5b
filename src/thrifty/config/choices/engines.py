"""Schemas of `engine`: what executes a trained model for prediction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thrifty.config.key import key

# By the names that torch.compile has for them, of which some are none in Python.
CompileMode = Enum("CompileMode", ["default", "reduce-overhead", "max-autotune"])


@dataclass(kw_only=True)
class Engine:
    """What executes the trained model for prediction."""

    name: str


@dataclass(kw_only=True)
class Compile(Engine):
    """torch.compile, for each shape of inputs by itself."""

    mode: CompileMode = key("what torch.compile aims at; reduce-overhead helps on GPUs only, max-autotune compiles for minutes")
