"""What the instrument tries itself on: a model with fresh weights, on one core."""

from __future__ import annotations

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

_REPEATS = 100


def slower_by(slowdown: float) -> ArmSpec:
    """An arm that is slower than `slower_by(0)` by just this share, in steps of a hundredth: a hundred predictions, and as many more.

    They are of architecture=mlp model=nano, 5 to 6 ms on a core. To do more of the same is the only slowdown whose size is known:
    a wait, even a busy one, makes the work that follows it faster by half a percent on one processor, and slower by one on another.
    A tenth leads in, untimed: what the other arm has put into the caches costs once a block, however many predictions follow, and
    made 10 % more of them take only 9.7 % longer.
    """
    repeats = round(_REPEATS * (1 + slowdown))
    options = {
        "architecture": {"name": "mlp", "widths": [128, 64, 32]},
        "shape": {"inputs": 30, "outputs": 1},
        "precision": {"name": "fp32"},
        "batch_size": 1,
        "repeats": repeats,
    }
    return replace(REFERENCE, options=options)
