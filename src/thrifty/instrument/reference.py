"""The model the instrument tries itself on: the smallest of the default architecture, with fresh weights, on one core."""

from __future__ import annotations

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
