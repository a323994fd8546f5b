"""One of the processes of test_data_parallel: trains its share of every batch in 64 bits, and writes what came of it.

python one_of_two_ranks.py RANK RANKS MEETING FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from small_training import CPU, Points, Training, mlp
from torch import Tensor
from torch.distributed.tensor import DTensor

from thrifty.execution.ranks import Rank
from thrifty.methods.data_parallel import Alone, joined

BATCH, STEPS = 8, 12
TRAININGS = {
    "adamw": ((), None),
    "clipped and in parts": (("optimizer=sgd", "optimizer.lr=0.5", "train.clip=0.05", "regularizer.l2=0.01"), 3),
    "muon": (("optimizer=muon", "regularizer.l1=0.001"), None),
}
"""Overrides, and the most examples in one forward pass."""
SHARDED = {
    "adamw, sharded": ((), None),
    "clipped and in parts, sharded": (("optimizer=adam", "train.clip=0.05"), 3),
}
"""The same where each rank keeps a part of the weights only."""


def main(number: int, of: int, meeting: str, file: str) -> None:
    found = {}
    for shard, trainings in ((False, TRAININGS), (True, SHARDED)):
        rank = Rank(number, of, number, of, f"{meeting}-{shard}")
        with joined(rank, CPU, threads=1, shard=shard) as ranks:
            found |= trained(ranks, trainings)
            found["largest"] = ranks.largest([float(number), -1.0])
    torch.save(found, Path(file))


def trained(ranks: Alone, trainings: dict[str, tuple[tuple[str, ...], int | None]]) -> dict[str, Any]:
    found = {}
    for name, (overrides, most_at_once) in trainings.items():
        torch.manual_seed(7)
        data = Points(torch.randn(20, 3, dtype=torch.float64), torch.arange(20, dtype=torch.float64) % 2)
        parts = most_at_once or BATCH
        every = set(range(1, STEPS + 1))
        model = mlp(16, 8).double()
        training = Training(model, data, overrides, STEPS, BATCH, None, parts, {4, 12}, every, ranks=ranks).run()
        found[name] = {
            "losses": torch.tensor([row["train/loss"] for row in training.trace.history], dtype=torch.float64),
            "validations": torch.tensor([len(row) for row in training.trace.history]),
            "weights": {key: one.detach().clone() for key, one in training.monitor.model.state_dict().items()},
            "held": sum(local(one).numel() for one in model.parameters()),
            "random": torch.stack([one["cpu"] for one in training.module.random_states()]),
        }
    return found


def local(parameter: Tensor) -> Tensor:
    """What this rank holds of it."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
