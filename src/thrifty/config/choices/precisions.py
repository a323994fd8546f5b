"""Schemas of `precision`: the one place that sets the dtype."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thrifty.config.key import key


class WeightType(Enum):
    """What the weights are kept in between steps."""

    fp32 = "fp32"
    bf16 = "bf16"


@dataclass(kw_only=True)
class Precision:
    """The one place that sets the dtype, of training, evaluation and prediction."""

    name: str


@dataclass(kw_only=True)
class Bf16(Precision):
    """bfloat16 where it is safe (matrix products), 32 bits elsewhere."""

    weights: WeightType = key("what the weights are kept in; bf16 halves memory and file, and loses small steps")
