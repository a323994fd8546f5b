"""A small table with columns and targets of every kind, for the tests of the tabular task."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from chosen import chosen
from thrifty.tasks.tabular import TableData, TabularTask

ROWS = 60


def table(rows: int = ROWS) -> pd.DataFrame:
    """Numbers with and without a sign, a text, and targets of every kind."""
    random = np.random.default_rng(0)
    amount, signed = random.uniform(0, 9, rows).round(3), random.normal(0, 1, rows).round(3)
    return pd.DataFrame(
        {
            "amount": amount,
            "signed": signed,
            "colour": np.array(["red", "green", "blue"])[np.arange(rows) % 3],
            "price": (3 * amount + signed + 20).round(3),
            "bought": np.where(np.arange(rows) % 4 == 0, "yes", "no"),
        }
    )


def write(folder: Path, frame: pd.DataFrame, name: str = "data.csv", **style: Any) -> str:
    path = folder / name
    frame.to_csv(path, index=False, **style)
    return str(path)


def prepare(path: str | None = None, target: str | None = None, **keys: Any) -> TableData:
    return TabularTask(chosen("task=tabular", path=path, target=target, **keys)).prepare(chosen("architecture=mlp"))


def everything(data: TableData, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return data.batch(split, torch.arange(data.sizes[split]))


def linear(data: TableData) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(data.shape["inputs"], data.shape["outputs"])
