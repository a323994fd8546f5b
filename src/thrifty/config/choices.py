"""The schema of every choice: what `optimizer=adam`, `task=text`, ... may be given, with meaning, unit and range.

No torch here: help, errors and completion must answer before it could be imported. What a choice does lies in the folder
of its group; `registry.py` holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from thrifty.config.key import key
from thrifty.errors import BadConfiguration

BY_SIZE = "by architecture and model"


class Kind(Enum):
    """What a table's target is."""

    auto = "auto"
    binary = "binary"
    multiclass = "multiclass"
    regression = "regression"


class WandbMode(Enum):
    """Where a wandb run goes."""

    offline = "offline"
    online = "online"
    disabled = "disabled"


# -- tasks --------------------------------------------------------------------------------------------------------------


@dataclass
class Task:
    """What is learned, from which data."""

    NAME: ClassVar[str]
    DECIDING: ClassVar[str]
    """The metric that decides searches, targets and early stopping; for `tabular` regression it is r2."""
    QUICK_STEPS: ClassVar[int | None] = None
    QUICK_EPOCHS: ClassVar[float | None] = None
    FULL_EPOCHS: ClassVar[float] = 1

    name: str = key("", "the chosen task")
    path: str | None = key(None, "data of your own: a file or folder the task can read", default_shown="built in")
    validation: float = key(0.1, "share of the examples that searches and early stopping see", above=0, below=0.5)
    test: float = key(0.1, "share of the examples that is touched once, at the end", above=0, below=0.5)
    split_seed: int = key(0, "which split; apart from `seed`, so that runs of different seeds share a test set", at_least=0)


@dataclass
class Text(Task):
    """Byte-level language modelling: predict the next byte of a text."""

    NAME: ClassVar[str] = "text"
    DECIDING: ClassVar[str] = "bits_per_byte"
    QUICK_STEPS: ClassVar[int | None] = 300
    FULL_EPOCHS: ClassVar[float] = 1

    name: str = key("text", "the chosen task")


@dataclass
class Tabular(Task):
    """A column of a table predicted from the others."""

    NAME: ClassVar[str] = "tabular"
    DECIDING: ClassVar[str] = "accuracy"
    QUICK_EPOCHS: ClassVar[float | None] = 10
    FULL_EPOCHS: ClassVar[float] = 100

    name: str = key("tabular", "the chosen task")
    validation: float = key(0.2, "share of the rows that searches and early stopping see", above=0, below=0.5)
    test: float = key(0.2, "share of the rows that is touched once, at the end", above=0, below=0.5)
    target: str | None = key(None, "the column to predict; needed with task.path", default_shown="built in")
    kind: Kind = key(Kind.auto, "what the target is; auto looks at its values")
    numeric: list[str] = key(list, "text columns to read as numbers instead of categories")
    ignore: list[str] = key(list, "columns to leave out, such as an identifier")
    log1p: Any = key(
        "auto",
        "columns that get log(x+1): auto (every numeric column without a negative value), all, none, or a list of columns",
    )

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        given = self.log1p
        if isinstance(given, list) and all(isinstance(one, str) for one in given):
            return
        if given is None:  # YAML and Hydra read a bare `none` as a word, `null` as nothing: take both
            self.log1p = "none"
        elif given not in ("auto", "all", "none"):
            raise BadConfiguration(f"{path}log1p={given}: must be auto, all, none or a list of columns such as [price,age]")


# -- architectures ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rung:
    """One step of an architecture's size ladder and what goes with it."""

    shape: dict[str, Any]
    batch_size: int
    evaluation_examples: int
    """Test examples that `measure=quick` looks at; validation during training looks at a quarter of them."""


@dataclass
class Architecture:
    """What computes the answer."""

    NAME: ClassVar[str]
    TASKS: ClassVar[tuple[str, ...]]
    LADDER: ClassVar[dict[str, Rung]]
    LEARNING_RATES: ClassVar[dict[str, float]]
    """Peak learning rate at the lowest rung, by optimizer."""

    name: str = key("", "the chosen architecture")

    def learning_rate(self, optimizer: str) -> float:
        """Default peak learning rate for the resolved shape; None of the shape's keys may be null."""
        return self.LEARNING_RATES[optimizer]


@dataclass
class Gpt(Architecture):
    """A decoder-only transformer as GPT-2 has it: pre-norm, GELU, learned positions, tied output layer, heads of 64.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """

    NAME: ClassVar[str] = "gpt"
    TASKS: ClassVar[tuple[str, ...]] = ("text",)
    LADDER: ClassVar[dict[str, Rung]] = {
        "nano": Rung({"width": 128, "depth": 4}, 16, 512),
        "tiny": Rung({"width": 192, "depth": 12}, 16, 256),
        "small": Rung({"width": 384, "depth": 12}, 16, 128),
        "base": Rung({"width": 768, "depth": 12}, 8, 64),
        "large": Rung({"width": 1024, "depth": 24}, 4, 24),
        "xlarge": Rung({"width": 1280, "depth": 36}, 4, 12),
        "xxlarge": Rung({"width": 1600, "depth": 48}, 4, 8),
    }
    LEARNING_RATES: ClassVar[dict[str, float]] = {"adam": 4e-3, "adamw": 4e-3, "sgd": 0.5}

    name: str = key("gpt", "the chosen architecture")
    width: int | None = key(None, "size of the residual stream, a multiple of 64", at_least=64, default_shown="by model")
    depth: int | None = key(None, "number of blocks", at_least=1, default_shown="by model")
    context: int = key(128, "bytes the model looks back", unit="bytes", at_least=2)

    def learning_rate(self, optimizer: str) -> float:
        """Adam\'s falls as the model grows; SGD\'s does not."""
        # Adam's step does not shrink as layers widen, the sum it moves grows with the width: hence 1/width
        # (Yang et al., "Tensor Programs V", 2022), and the root of the depth for as many blocks that move together.
        # SGD's gradient already carries the width.
        base = self.LEARNING_RATES[optimizer]
        assert self.width is not None
        assert self.depth is not None
        return base if optimizer == "sgd" else base * 128 / self.width * (4 / max(4, self.depth)) ** 0.5

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.width is not None and self.width % 64:
            raise BadConfiguration(
                f"{path}width={self.width}: must be a multiple of 64, the size of an attention head; "
                f"the nearest is {max(64, round(self.width / 64) * 64)}"
            )


@dataclass
class Mlp(Architecture):
    """A funnel of ReLU layers, 128-64-32 at the bottom of the ladder, each rung a multiple of it."""

    NAME: ClassVar[str] = "mlp"
    TASKS: ClassVar[tuple[str, ...]] = ("tabular",)
    LADDER: ClassVar[dict[str, Rung]] = {
        size: Rung({"widths": [128 * times, 64 * times, 32 * times]}, 32, 100_000)
        for size, times in zip(
            ("nano", "tiny", "small", "base", "large", "xlarge", "xxlarge"), (1, 2, 4, 8, 16, 32, 64), strict=True
        )
    }
    LEARNING_RATES: ClassVar[dict[str, float]] = {"adam": 3e-3, "adamw": 3e-3, "sgd": 0.1}

    name: str = key("mlp", "the chosen architecture")
    widths: list[int] | None = key(None, "units of each hidden layer", at_least=1, default_shown="by model")

    def learning_rate(self, optimizer: str) -> float:
        """Adam\'s falls as the model grows; SGD\'s does not."""
        assert self.widths is not None
        base = self.LEARNING_RATES[optimizer]
        return base if optimizer == "sgd" else base * (128 / max(128, max(self.widths))) ** 0.5

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.widths is not None and not self.widths:
            raise BadConfiguration(f"{path}widths=[]: must name at least one hidden layer, such as [128,64,32]")


# -- optimizers ---------------------------------------------------------------------------------------------------------


@dataclass
class Optimizer:
    """What turns gradients into steps."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen optimizer")
    lr: float | None = key(None, "peak learning rate", above=0, default_shown=BY_SIZE)


@dataclass
class Adam(Optimizer):
    """Adam. Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015."""

    NAME: ClassVar[str] = "adam"

    name: str = key("adam", "the chosen optimizer")
    betas: list[float] = key(lambda: [0.9, 0.999], "decay of the first and second moment", at_least=0, below=1)
    eps: float = key(1e-8, "added to the root of the second moment", above=0)

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if len(self.betas) != 2:
            raise BadConfiguration(f"{path}betas={self.betas}: must be two numbers, such as [0.9,0.999]")


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019."""

    NAME: ClassVar[str] = "adamw"

    name: str = key("adamw", "the chosen optimizer")
    weight_decay: float = key(
        0.1, "share of each weight matrix taken off per unit of lr; biases and norms are spared", at_least=0
    )


@dataclass
class Sgd(Optimizer):
    """Gradient descent; full-batch, stochastic or mini-batch as `batch_size` says."""

    NAME: ClassVar[str] = "sgd"

    name: str = key("sgd", "the chosen optimizer")
    momentum: float = key(0.0, "share of the last step kept in the next", at_least=0, below=1)


# -- schedules ----------------------------------------------------------------------------------------------------------


@dataclass
class Schedule:
    """How the learning rate moves over the steps of a run."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen schedule")


@dataclass
class Constant(Schedule):
    """The peak learning rate throughout."""

    NAME: ClassVar[str] = "constant"

    name: str = key("constant", "the chosen schedule")


@dataclass
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down. Source: Loshchilov and Hutter, "SGDR", 2017."""

    NAME: ClassVar[str] = "cosine"

    name: str = key("cosine", "the chosen schedule")
    warmup: float = key(0.1, "share of the steps spent rising to the peak", at_least=0, below=1)
    final: float = key(0.1, "last learning rate, as a share of the peak", at_least=0, at_most=1)


@dataclass
class InverseTime(Schedule):
    """alpha = alpha0 / (1 + beta * iteration)."""

    NAME: ClassVar[str] = "inverse_time"

    name: str = key("inverse_time", "the chosen schedule")
    beta: float = key(0.01, "how fast it falls: at iteration 1/beta it has halved", unit="1/step", at_least=0)


# -- precisions ---------------------------------------------------------------------------------------------------------


class WeightType(Enum):
    """What the weights are kept in between steps."""

    fp32 = "fp32"
    bf16 = "bf16"


@dataclass
class Precision:
    """The one place that sets the dtype, of training, evaluation and prediction."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen precision")


@dataclass
class Fp32(Precision):
    """32-bit floating point throughout."""

    NAME: ClassVar[str] = "fp32"

    name: str = key("fp32", "the chosen precision")


@dataclass
class Bf16(Precision):
    """bfloat16 where it is safe (matrix products), 32 bits elsewhere."""

    NAME: ClassVar[str] = "bf16"

    name: str = key("bf16", "the chosen precision")
    weights: WeightType = key(
        WeightType.fp32, "what the weights are kept in; bf16 halves memory and file, and loses small steps"
    )


@dataclass
class Fp16(Precision):
    """float16 where it is safe, with loss scaling; for accelerators only."""

    NAME: ClassVar[str] = "fp16"

    name: str = key("fp16", "the chosen precision")


# -- budgets, measurements, loggers, methods ----------------------------------------------------------------------------


@dataclass
class Budget:
    """How long a run trains."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen budget")
    steps: int | None = key(None, "optimiser steps", unit="steps", at_least=1, default_shown="by task")
    epochs: float | None = key(
        None, "passes over the training split, where steps are not given", above=0, default_shown="by task"
    )
    seconds: float | None = key(None, "cap on training time; a run that meets it is flagged", unit="s", above=0)

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors."""
        if self.steps is not None and self.epochs is not None:
            raise BadConfiguration(f"{path}steps={self.steps} and {path}epochs={self.epochs:g}: give one of the two")


@dataclass
class Quick(Budget):
    """A fixed number of steps by task, capped at a minute of training."""

    NAME: ClassVar[str] = "quick"

    name: str = key("quick", "the chosen budget")
    seconds: float | None = key(60.0, "cap on training time; a run that meets it is flagged", unit="s", above=0)


@dataclass
class Full(Budget):
    """As many passes over the data as the task needs, without a cap."""

    NAME: ClassVar[str] = "full"

    name: str = key("full", "the chosen budget")


@dataclass
class Measure:
    """Which measurements a run makes after training, and how long each may take."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen set of measurements")
    seconds: float = key(0.0, "time for each speed measurement; 0 makes none", unit="s", at_least=0)
    examples: int | None = key(None, "most test examples to evaluate", at_least=1, default_shown=BY_SIZE)


@dataclass
class QuickMeasure(Measure):
    """Speed and quality in a few seconds each."""

    NAME: ClassVar[str] = "quick"

    name: str = key("quick", "the chosen set of measurements")
    seconds: float = key(2.0, "time for each speed measurement; 0 makes none", unit="s", at_least=0)


@dataclass
class FullMeasure(Measure):
    """More samples, and every test example."""

    NAME: ClassVar[str] = "full"

    name: str = key("full", "the chosen set of measurements")
    seconds: float = key(15.0, "time for each speed measurement; 0 makes none", unit="s", at_least=0)
    examples: int | None = key(None, "most test examples to evaluate", at_least=1, default_shown="all")


@dataclass
class NoMeasure(Measure):
    """Quality only."""

    NAME: ClassVar[str] = "none"

    name: str = key("none", "the chosen set of measurements")


@dataclass
class Logger:
    """Where a run is told to, beside its own directory."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen logger")


@dataclass
class Wandb(Logger):
    """Weights & Biases; offline unless told, so no account, prompt or network is needed."""

    NAME: ClassVar[str] = "wandb"

    name: str = key("wandb", "the chosen logger")
    mode: WandbMode = key(WandbMode.offline, "offline writes to the run's directory; online needs WANDB_API_KEY")
    project: str = key("thrifty", "wandb's project")
    entity: str | None = key(None, "wandb's user or team", default_shown="your own")
    artifact: bool = key(True, "keep the weights as a wandb artifact too")


@dataclass
class NoLogger(Logger):
    """The run's own directory only."""

    NAME: ClassVar[str] = "none"

    name: str = key("none", "the chosen logger")


@dataclass
class Method:
    """What is done to the model."""

    NAME: ClassVar[str]

    name: str = key("", "the chosen method")


@dataclass
class Train(Method):
    """Train it."""

    NAME: ClassVar[str] = "train"

    name: str = key("train", "the chosen method")
