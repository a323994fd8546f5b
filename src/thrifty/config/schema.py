"""The configuration of one experiment, typed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.budgets import Budget
from thrifty.config.choices.engines import Engine
from thrifty.config.choices.loggers import Logger
from thrifty.config.choices.measures import Measure
from thrifty.config.choices.methods import Method, Optimize, Prune, PruneQuantize, Quantize
from thrifty.config.choices.optimizers import Optimizer
from thrifty.config.choices.precisions import Precision
from thrifty.config.choices.pruners import Pruner
from thrifty.config.choices.quantizers import Quantizer
from thrifty.config.choices.schedules import Schedule
from thrifty.config.choices.tasks import Task
from thrifty.config.key import BY_ARCHITECTURE_AND_MODEL, BY_TASK, check, key
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


class Objective(Enum):
    """What a search makes small, or large."""

    latency = "latency"
    throughput = "throughput"
    file = "file"
    memory = "memory"


@dataclass(kw_only=True)
class Regularizer:
    """The lambda R(theta) of L(theta) + lambda R(theta), and its relatives; they combine."""

    l1: float = key("lambda of the sum of |w| over weight matrices, added to the loss", at_least=0)
    l2: float | None = key("lambda of the sum of w^2 over weight matrices, added to the loss", at_least=0, null=BY_TASK)
    dropout: float | None = key("share of activations dropped while training", at_least=0, below=1, null=BY_TASK)
    label_smoothing: float | None = key(
        "share of the target's probability spread over all classes", at_least=0, below=1, null=BY_TASK
    )


@dataclass(kw_only=True)
class Training:
    """How the training loop goes."""

    validations: int = key("validations during training, evenly spaced; one more always ends it", at_least=0)
    patience: int = key("validations without a better deciding metric before stopping early; 0 never does", at_least=0)
    steps_per_call: int | None = key(
        "optimiser steps in one call of Lightning's loop; 1 is its usual way", at_least=1, null="about 50 ms of them"
    )
    clip: float = key("largest norm of the gradient, above which it is scaled down; 0 never is", at_least=0)
    accumulate: int = key("parts a batch is computed in, one after the other, their gradients summed: saves memory", at_least=1)
    average: float = key(
        "decay of a running mean of the weights, which is validated and kept; 0 makes none", at_least=0, below=1
    )
    recompute: bool = key(
        "compute activations again in the backward pass instead of keeping them: saves memory, costs a third more"
    )
    checkpoints: float = key(
        "least time between two checkpoints, of which two are kept; 0 writes one only where training is asked to stop",
        unit="s",
        at_least=0,
    )
    compile: bool = key("train through torch.compile; the first step pays for compiling")
    shard: bool = key(
        "each device keeps a part of the weights, their gradients and the optimizer's state (FSDP): saves memory, costs traffic"
    )


@dataclass(kw_only=True)
class Config:
    """One experiment: task x architecture x model size x optimizer x batch size x precision x device x method."""

    task: Task
    architecture: Architecture
    model: ModelSize = key("rung of the architecture's size ladder")
    method: Method
    pruner: Pruner | None = None
    quantizer: Quantizer | None = None
    sparsity: int | float | str | None = key(
        "share that the pruner removes; auto finds the largest within max_quality_loss",
        at_least=0,
        below=1,
        words=("auto",),
        null="0.5 where a pruner is",
    )
    max_quality_loss: float | None = key(
        "quality points that compressing may cost: 100 x the difference of a fraction, percent of an error; with method=quantize the layers "
        "that cost most stay as they are until it holds",
        unit="points",
        at_least=0,
        null="0.5 with sparsity=auto and with method=optimize",
    )
    objective: Objective | None = key(
        "what method=optimize looks for: the shortest time of a prediction, the most predictions a second, the smallest file, the least memory",
        null="latency with method=optimize",
    )
    optimizer: Optimizer
    schedule: Schedule
    regularizer: Regularizer
    batch_size: int | str | None = key(
        "examples in one optimiser step; auto finds the fastest that fits",
        at_least=1,
        words=("full", "auto"),
        null=BY_ARCHITECTURE_AND_MODEL,
    )
    precision: Precision
    device: Device = key("where to compute; auto takes cuda, then mps, then cpu")
    devices: int = key(
        "processes that train together, each with a device of its own (on the CPU, its part of the cores) and its share of every batch",
        at_least=1,
    )
    budget: Budget
    train: Training
    target: float | None = key("value of the deciding metric on validation whose time of reaching is recorded")
    measure: Measure
    engine: Engine
    profile: bool = key("also leave a torch profiler trace, a memory account and the costliest operations")
    logger: Logger
    seed: int = key("seed of initialisation, order and dropout", at_least=0, below=2**32)
    workers: int = key(
        "threads that gather batches while training goes on; 0 gathers them in between, which in memory costs less",
        at_least=0,
        at_most=64,
    )
    threads: int | None = key("threads of one operation on the CPU", at_least=1, at_most=1024, null="every core we may use")
    checkpoint: str | None = key("a finished run whose weights to start from")
    resume: str | None = key("a run that was cut off, to go on with as it began; goes with no other key but store")
    store: str = key("directory that holds everything we write")
    name: str | None = key("a name of your own for the run")
    tags: list[str] = key("labels for wandb and `thrifty list`")

    def __post_init__(self) -> None:
        # OmegaConf builds a Config only from a whole tree; a node left without a value is our bug, not the user's.
        check(self)
        if self.task.name not in self.architecture.TASKS:
            raise BadConfiguration(
                f"task={self.task.name} architecture={self.architecture.name}: do not go together; "
                f"architecture={self.architecture.name} takes task={' or '.join(self.architecture.TASKS)}"
            )
        if self.train.patience and not self.train.validations:
            raise BadConfiguration(
                f"train.patience={self.train.patience} train.validations=0: do not go together; stopping early looks at "
                "validations, so make some"
            )
        self._check_pruning()
        self._check_quantizing()
        if isinstance(self.method, Optimize) and self.devices > 1:
            raise BadConfiguration(
                f"method=optimize devices={self.devices}: do not go together; one process is measured at a time, so take devices=1, and "
                "checkpoint=RUN for a model that several have trained"
            )
        if self.batch_size == "auto" and self.devices > 1:
            raise BadConfiguration(
                f"batch_size=auto devices={self.devices}: do not go together; find it with devices=1, and give {self.devices} times that"
            )

    def _check_pruning(self) -> None:
        pruner, method = self.pruner, self.method
        if self.max_quality_loss is not None and isinstance(method, Prune) and self.sparsity != "auto":
            raise BadConfiguration(
                f"max_quality_loss={self.max_quality_loss:g}: bounds what sparsity=auto may cost; add sparsity=auto"
            )
        if pruner is not None and isinstance(method, PruneQuantize):
            self._check_pruned_first(pruner)
        if pruner is None or not isinstance(method, Prune):
            return
        paces = [one for one in pruner.PACES if not (method.rewind and one == "gradual")]
        if method.pace.name not in pruner.PACES:
            raise BadConfiguration(
                f"pruner={pruner.name} method.pace={method.pace.name}: do not go together; take method.pace={' or '.join(paces)}"
            )
        if self.train.shard:
            raise BadConfiguration(
                "method=prune train.shard=true: do not go together; masks need whole weights on every device, so leave train.shard out"
            )
        if self.sparsity == "auto" and self.devices > 1:
            raise BadConfiguration(
                f"sparsity=auto devices={self.devices}: do not go together; it is looked for by one process, so take devices=1"
            )
        if method.rewind and self.train.average:
            raise BadConfiguration(
                f"method.rewind=true train.average={self.train.average:g}: do not go together; a mean would hold weights of before the "
                "ticket was drawn, so take train.average=0"
            )
        if self.train.patience and method.pace.name != "one_shot":
            raise BadConfiguration(
                f"train.patience={self.train.patience} method.pace={method.pace.name}: do not go together; the best weights may be those "
                "of a model that was not pruned yet, so take train.patience=0 or method.pace=one_shot"
            )
        if method.rewind and pruner.PHYSICAL:
            raise BadConfiguration(
                f"pruner={pruner.name} method.rewind=true: do not go together; the first weights belong to units that are gone, so take "
                "a pruner that masks, such as magnitude"
            )

    def _check_pruned_first(self, pruner: Pruner) -> None:
        alone = "prune first, by method=prune, and name that run: method=quantize checkpoint=RUN"
        if self.sparsity == "auto":
            raise BadConfiguration(f"sparsity=auto method=prune_quantize: do not go together; {alone}")
        if "one_shot" not in pruner.PACES:
            raise BadConfiguration(
                f"pruner={pruner.name} method=prune_quantize: do not go together; it prunes by method.pace={' or '.join(pruner.PACES)}, so {alone}"
            )

    def _check_quantizing(self) -> None:
        quantizer, method = self.quantizer, self.method
        if quantizer is None or not isinstance(method, Quantize):
            return
        if self.train.shard:
            raise BadConfiguration(
                "method=quantize train.shard=true: do not go together; scales are of whole weights, so leave train.shard out"
            )
        if self.devices > 1 and not quantizer.TRAINS:
            raise BadConfiguration(
                f"quantizer={quantizer.name} devices={self.devices}: do not go together; nothing is trained, so take devices=1"
            )
        if self.precision.name == "fp8":
            raise BadConfiguration(
                f"quantizer={quantizer.name} precision=fp8: do not go together; precision=fp8 replaces the layers by its own, so take "
                "precision=bf16, and quantizer=fp8_dynamic for predictions in 8 bits"
            )
