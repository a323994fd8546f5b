"""The configuration of one experiment, typed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from thrifty.config import choices
from thrifty.config.key import check, key
from thrifty.errors import BadConfiguration


class ModelSize(Enum):
    """The rungs of the size ladder; what each means stands with the architecture."""

    nano = "nano"
    tiny = "tiny"
    small = "small"
    base = "base"
    large = "large"
    xlarge = "xlarge"
    xxlarge = "xxlarge"


class Device(Enum):
    """Where a run computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Engine(Enum):
    """What executes a trained model for prediction."""

    eager = "eager"


@dataclass
class Regularizer:
    """The lambda R(theta) of L(theta) + lambda R(theta), and its relatives; they combine."""

    l1: float = key(0.0, "lambda of the sum of |w| over weight matrices, added to the loss", at_least=0)
    l2: float = key(0.0, "lambda of the sum of w^2 over weight matrices, added to the loss", at_least=0)
    dropout: float = key(0.0, "share of activations dropped while training", at_least=0, below=1)
    label_smoothing: float = key(0.0, "share of the target's probability spread over all classes", at_least=0, below=1)


@dataclass
class Training:
    """How the training loop goes."""

    validations: int = key(10, "validations during training, evenly spaced; one more always ends it", at_least=0)
    patience: int = key(0, "validations without a better deciding metric before stopping early; 0 never does", at_least=0)
    steps_per_call: int | None = key(
        None,
        "optimiser steps in one call of Lightning's loop; 1 is its usual way",
        at_least=1,
        default_shown="about 50 ms of them",
    )


@dataclass
class Config:
    """One experiment: task x architecture x model size x optimizer x batch size x precision x device x method."""

    task: choices.Task = MISSING
    architecture: choices.Architecture = MISSING
    model: ModelSize = key(ModelSize.nano, "rung of the architecture's size ladder")
    method: choices.Method = MISSING
    optimizer: choices.Optimizer = MISSING
    schedule: choices.Schedule = MISSING
    regularizer: Regularizer = key(Regularizer, "")
    batch_size: int | str | None = key(
        None, "examples in one optimiser step", at_least=1, words=("full",), default_shown=choices.BY_SIZE
    )
    precision: choices.Precision = MISSING
    device: Device = key(Device.auto, "where to compute; auto takes cuda, then mps, then cpu")
    budget: choices.Budget = MISSING
    train: Training = key(Training, "")
    target: float | None = key(
        None, "value of the deciding metric on validation whose time of reaching is recorded", default_shown="none"
    )
    measure: choices.Measure = MISSING
    engine: Engine = key(Engine.eager, "what executes the trained model for prediction")
    logger: choices.Logger = MISSING
    seed: int = key(0, "seed of initialisation, order and dropout", at_least=0, below=2**63)
    threads: int | None = key(
        None, "threads of one operation on the CPU", at_least=1, at_most=1024, default_shown="every core we may use"
    )
    checkpoint: str | None = key(None, "a finished run whose weights to start from", default_shown="none")
    store: str = key("results", "directory that holds everything we write")
    name: str | None = key(None, "a name of your own for the run", default_shown="none")
    tags: list[str] = key(list, "labels for wandb and `thrifty list`")

    def __post_init__(self) -> None:
        # OmegaConf builds a Config only from a whole tree; a node left MISSING is our bug, not the user's.
        check(self)
        if self.task.name not in self.architecture.TASKS:
            raise BadConfiguration(
                f"task={self.task.name} architecture={self.architecture.name}: do not go together; "
                f"architecture={self.architecture.name} takes task={' or '.join(self.architecture.TASKS)}"
            )
