"""What the instrument tries itself on: a model with fresh weights, on one core."""

from __future__ import annotations

import math
from dataclasses import replace

from thrifty.execution.arm_worker import ArmSpec

REFERENCE = ArmSpec(
    "thrifty.methods.workloads:untrained",
    {
        "architecture": {"name": "gpt", "width": 128, "depth": 4, "context": 128},
        "shape": {"vocabulary": 256, "context": 128},
        "precision": {"name": "fp32"},
        "batch_size": 1,
    },
    threads=1,
)
"""architecture=gpt model=nano, one prediction of 128 bytes: 4 to 6 ms on a core."""

_LEAST = 20
"""Forward passes of the faster arm: a block is then half a millisecond to one, as it is for any small model."""


def known_slowdown(slowdown: float) -> tuple[ArmSpec, ArmSpec, float]:
    """Two arms of which the second does a little more of the same, and the share by which it is slower: about `slowdown`, and known.

    They make forward passes of a perceptron with a hidden layer, some 20 microseconds each on a core: 20 and 20, 34 and 35, 20 and 21,
    20 and 22.
    To do more of the same is the only slowdown whose size is known: a wait, even a busy one, makes the work that follows it faster
    by half a percent on one processor, and slower by one on another.
    """
    first = max(_LEAST, math.ceil(round(1 / slowdown, 6))) if slowdown else _LEAST
    second = first + round(first * slowdown)
    return _repeated(first), _repeated(second), second / first - 1


def _repeated(passes: int) -> ArmSpec:
    options = {
        "architecture": {"name": "mlp", "widths": [64]},
        "shape": {"inputs": 30, "outputs": 1},
        "precision": {"name": "fp32"},
        "batch_size": 1,
        "repeats": passes,
    }
    return replace(REFERENCE, options=options)
