"""A training step of ours against a loop written by hand: python tests/benchmarks/training_step.py

Ours is the whole of method=train without its validations: Lightning's trainer, monitor, history, progress events. The other
arm is the loop of PyTorch's tutorials over a DataLoader, with the same model, data, batch size, precision and optimiser.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _report
import numpy as np
from _pairs import Arm, Blocks, fork_server, measure_pair, ratio_of, verdict

ROWS, COLUMNS = 8192, 30
WARM_UP = 2
"""Blocks before the timed ones."""
LOSS_SHOWN_EVERY = 100
"""Steps after which the loop written by hand looks at its loss."""


@dataclass(frozen=True)
class Case:
    """A comparison and the ratio it must keep to."""

    what: str
    overrides: list[str]
    steps: int
    """Optimiser steps of a block."""
    blocks: int
    most: float


def cases(table: str) -> list[Case]:
    """The comparisons; `table` is a CSV file."""
    mlp = ["task=tabular", f"task.path={table}", "task.target=target", "model=nano", "batch_size=32", "regularizer.l2=0"]
    # Neither dropout nor label smoothing: the loop by hand has none.
    image = ["task=image", "model=tiny", "regularizer.dropout=0", "regularizer.label_smoothing=0"]
    return [
        Case("MLP nano, batch 32, one step a call", [*mlp, "train.steps_per_call=1"], 100, 30, 1.35),
        Case("MLP nano, batch 32, steps a call by default", mlp, 100, 30, 1.00),
        Case(
            "GPT tiny, batch 16, context 128, steps a call by default", ["task=text", "model=tiny", "batch_size=16"], 1, 8, 1.02
        ),
        Case("ViT tiny, digits, steps a call by default", [*image, "architecture=vit"], 3, 8, 1.02),
        Case("ResNet tiny, digits, steps a call by default", [*image, "architecture=resnet"], 10, 8, 1.02),
    ]


def ours(block_done: Callable[[], None], emit: Callable[[Any], None], overrides: list[str], steps: int, blocks: int) -> None:
    """Training as `python run.py` does it, pausing where it would validate."""
    import torch

    from thrifty.config.compose import compose, plain
    from thrifty.measure.statistics import Interval
    from thrifty.methods.train import TrainMethod
    from thrifty.record import new_record, usable_cores
    from thrifty.stop import StopRequest
    from thrifty.store import RunDirectory

    class Pausing(TrainMethod):
        def validate(self, model: torch.nn.Module) -> dict[str, Interval]:
            block_done()
            return dict.fromkeys(("loss", self.data.deciding), Interval(0.0))

    overrides = [*overrides, "budget=full", f"budget.steps={steps * blocks}", f"train.validations={blocks}"]
    config = compose(overrides)
    torch.set_num_threads(usable_cores())
    method = Pausing(config, torch.device("cpu"), emit, StopRequest())
    method.prepare(())
    method.run(RunDirectory.claim(Path(config.store) / "runs", new_record(plain(config), overrides, "benchmark")))


def by_hand(block_done: Callable[[], None], emit: Callable[[Any], None], overrides: list[str], steps: int, blocks: int) -> None:
    """A DataLoader, a model, an optimiser, a loop."""
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, Dataset, TensorDataset

    from thrifty.config import registry
    from thrifty.config.compose import compose
    from thrifty.methods.model import build_model
    from thrifty.record import usable_cores
    from thrifty.tasks.corpus import read_corpus

    class Windows(Dataset[Any]):
        def __init__(self, stream: torch.Tensor, context: int) -> None:
            self.stream, self.context = stream, context

        def __len__(self) -> int:
            return (len(self.stream) - 1) // self.context

        def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
            window = self.stream[index * self.context : (index + 1) * self.context + 1].long()
            return window[:-1], window[1:]

    config: Any = compose(overrides)
    torch.set_num_threads(usable_cores())
    torch.manual_seed(config.seed)
    data = registry.load("task", config.task.name)(config.task).prepare(config.architecture)
    model = build_model(config.architecture, data.shape, 0.0)
    if config.task.name == "text":
        dataset: Dataset[Any] = Windows(read_corpus(config.task.path).stream, config.architecture.context)
    else:
        dataset = TensorDataset(*data.batch("train", torch.arange(data.sizes["train"])))
    # drop_last: ours has no smaller batches either.
    loader = DataLoader(dataset, batch_size=config.batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.optimizer.lr, fused=True)
    model.train()
    step = 0
    while True:
        for inputs, targets in loader:
            outputs = model(inputs)
            if config.task.name == "text":
                loss = F.cross_entropy(outputs.flatten(0, 1), targets.flatten())
            elif config.task.name == "image":
                loss = F.cross_entropy(outputs, targets)
            else:
                loss = F.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            if step % LOSS_SHOWN_EVERY == 0:
                emit(f"{step}: {loss.item()}")
            if step % steps == 0:
                block_done()


def write_table(path: Path) -> None:
    """Two classes, told apart by the sum of the columns and a little noise."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((ROWS, COLUMNS))
    classes = np.where(values.sum(1) + generator.standard_normal(ROWS) > 0, "yes", "no")
    rows = (",".join([*(f"{value:.6f}" for value in row), one]) for row, one in zip(values, classes, strict=True))
    path.write_text("\n".join([",".join([*(f"x{number}" for number in range(COLUMNS)), "target"]), *rows, ""]))


def row_of(case: Case, pairs: list[Blocks]) -> list[str]:
    """A comparison as it stands in the table."""
    ratio = ratio_of(pairs)
    ours_ms, theirs_ms = (
        statistics.median(block[arm] for blocks in pairs for block in blocks) / case.steps * 1e3 for arm in (0, 1)
    )
    interval = "" if ratio.low is None else f"{ratio.low:.3f} to {ratio.high:.3f}"
    return [
        case.what, f"{ours_ms:.3g}", f"{theirs_ms:.3g}", f"{ratio.value:.3f}", interval,
        f"{case.most:.2f}", verdict(ratio, case.most),
    ]  # fmt: skip


def main() -> None:
    """Measure, print and write the table; exit 1 where a target is missed."""
    parser = _report.parser(__doc__)
    parser.add_argument("--pairs", type=int, default=8, help="pairs of fresh processes of each comparison (8)")
    parser.add_argument("--blocks", type=int, help="timed blocks of each process")
    parser.add_argument("--only", default="", help="only comparisons with this in their name")
    options = parser.parse_args()
    context, order, rows, missed = fork_server(), random.Random(0), [], False
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "table.csv")
        for case in cases(f"{folder}/table.csv"):
            if options.only not in case.what:
                continue
            blocks = options.blocks or case.blocks
            # One more than is asked for, so that a process is ended by the parent and never by its last step.
            common = {"steps": case.steps, "blocks": WARM_UP + blocks + 1}
            overrides = [*case.overrides, "optimizer=adam", "device=cpu", "logger=none", "measure=none", f"store={folder}"]
            arms = [Arm(work, {"overrides": overrides, **common}) for work in (ours, by_hand)]
            pairs = [measure_pair(context, arms, WARM_UP, blocks, order) for _ in range(options.pairs)]
            rows.append(row_of(case, pairs))
            missed |= ratio_of(pairs).value > case.most
            print(rows[-1], file=sys.stderr)
    lines = [
        "One optimiser step of `python run.py` (Lightning's trainer, monitor, history and events on, no validation) against a",
        "loop written by hand over a DataLoader: same model, data, batch size, Adam (fused), fp32 and threads. Ratio: below 1,",
        f"ours is faster; its 95 % interval is over {options.pairs} pairs of fresh processes that take turns, block by block, in",
        f"random order. The table has {ROWS} rows of {COLUMNS} numbers; text and digits are the built-in ones.",
        "",
        *_report.table(
            ["comparison", "ours, ms", "by hand, ms", "ratio", "95 % interval", "at most", ""],
            rows,
        ),
    ]
    _report.publish("training_step", "A training step", lines, options.results)
    sys.exit(missed)


if __name__ == "__main__":
    main()
