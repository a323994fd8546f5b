"""One of the processes of test_data_parallel: trains its share of every batch in 64 bits, and writes what came of it.

python one_of_two_ranks.py RANK RANKS MEETING FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from small_training import CPU, Points, Training, mlp

from thrifty.execution.ranks import Rank
from thrifty.methods.data_parallel import joined

BATCH, STEPS = 8, 12
TRAININGS = {
    "adamw": ((), None),
    "clipped and in parts": (("optimizer=sgd", "optimizer.lr=0.5", "train.clip=0.05", "regularizer.l2=0.01"), 3),
    "muon": (("optimizer=muon", "regularizer.l1=0.001"), None),
}
"""Overrides, and the most examples in one forward pass."""


def main(number: int, of: int, meeting: str, file: str) -> None:
    found = {}
    rank = Rank(number, of, number, of, meeting)
    with joined(rank, CPU, threads=1) as ranks:
        for name, (overrides, most_at_once) in TRAININGS.items():
            torch.manual_seed(7)
            data = Points(torch.randn(20, 3, dtype=torch.float64), torch.arange(20, dtype=torch.float64) % 2)
            model = mlp(16, 8).double()
            training = Training(
                model,
                data,
                overrides,
                STEPS,
                BATCH,
                None,
                most_at_once or BATCH,
                {4, 12},
                set(range(1, STEPS + 1)),
                ranks=ranks,
            ).run()
            found[name] = {
                "losses": torch.tensor([row["train/loss"] for row in training.trace.history], dtype=torch.float64),
                "validations": torch.tensor([len(row) for row in training.trace.history]),
                "weights": training.weights,
                "random": torch.stack([one["cpu"] for one in training.module.random_states()]),
            }
        found["largest"] = ranks.largest([float(number), -1.0])
    torch.save(found, Path(file))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
