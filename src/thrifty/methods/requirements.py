"""What a training asks of its data, its model and the machine, beyond what its configuration alone can say."""

from __future__ import annotations

from collections.abc import Collection

import torch

from thrifty.architectures.shapes_only import shapes_only
from thrifty.config.schema import Config
from thrifty.engines.compile import Compile
from thrifty.errors import BadConfiguration, Unsupported
from thrifty.execution.batch_size import BatchSize
from thrifty.methods.model import build_model
from thrifty.methods.recomputation import recompute_blocks
from thrifty.tasks.base import Data

_SHARED_OUT = ("adam", "adamw")
"""Optimizers whose state is worth sharing out, and whose fused steps torch makes on parts of weights."""


def batch_size_for(config: Config, data: Data, given: Collection[str], found: BatchSize | None = None) -> int:
    """Examples in an optimiser step: a default larger than the training split gives way to it, one that was asked for does not.

    Args:
        found: for batch_size=auto.

    Raises:
        BadConfiguration: a batch larger than the training split, or none found.
    """
    examples, wanted = data.sizes["train"], config.batch_size
    if wanted == "full":
        return examples
    if wanted == "auto":
        if found is None or found.size is None:
            why = "nothing was tried" if found is None else found.about
            raise BadConfiguration(f"batch_size=auto: found none ({why}); give batch_size=N")
        data.about.append(found.about)
        return found.size
    size = int(wanted or 1)
    if size <= examples:
        return size
    if "batch_size" in given:
        raise BadConfiguration(
            f"batch_size={size}: the training split has {examples} examples; give at most that, or batch_size=full"
        )
    data.about.append(f"the training split's {examples} examples make one batch: {size} are more")
    return examples


def check_levers(config: Config, data: Data, batch_size: int, device: torch.device) -> None:
    """Hold what was asked of the training to what it has to do with.

    Raises:
        BadConfiguration: label smoothing without classes, a batch that its ranks cannot share evenly, more parts than a share has
            examples, activations to compute again in a model without blocks.
        Unsupported: compiling, where there is no compiler.
    """
    smoothing, training = config.regularizer.label_smoothing, config.train
    if smoothing and not data.has_classes:
        raise BadConfiguration(
            f"regularizer.label_smoothing={smoothing:g}: smooths the probabilities of classes, and this target is a number; "
            "leave it out"
        )
    devices = config.devices
    if batch_size % devices:
        less = batch_size - batch_size % devices
        sizes = [one for one in (less, less + devices) if 0 < one <= data.sizes["train"]]
        if not sizes:
            raise BadConfiguration(
                f"devices={devices}: the training split has {data.sizes['train']} examples; give fewer devices"
            )
        few = f"batch_size={' or '.join(map(str, sizes))}"
        raise BadConfiguration(f"devices={devices}: a batch of {batch_size} does not divide over them; give {few}")
    if training.accumulate > batch_size // devices:
        of = (
            f"batch of {batch_size}" if devices == 1 else f"device's share, {batch_size // devices} of a batch of {batch_size},"
        )
        raise BadConfiguration(
            f"train.accumulate={training.accumulate}: a {of} cannot be computed in so many parts; give at most that"
        )
    if training.shard:
        _check_sharding(config)
    if training.recompute:
        with shapes_only():
            blocks = recompute_blocks(build_model(config.architecture, data.shape, 0.0))
        if not blocks:
            raise BadConfiguration(
                f"train.recompute=true: architecture={config.architecture.name} has no blocks whose activations could be computed "
                "again; train.accumulate=N saves memory too"
            )
    if training.compile:
        why = Compile("default").unsupported(device.type)
        if why is not None:
            ours = why.replace("engine=compile", "train.compile=true").replace("engine=eager", "train.compile=false")
            raise Unsupported(ours)


def _check_sharding(config: Config) -> None:
    if config.devices == 1:
        raise BadConfiguration(
            "train.shard=true: shares a training's memory out among devices, and there is one; give devices=N"
        )
    for is_so, what, instead in (
        (config.optimizer.name not in _SHARED_OUT, f"optimizer={config.optimizer.name}", "use optimizer=adamw"),
        (config.precision.name == "fp16", "precision=fp16", "use precision=bf16"),
        (config.regularizer.l1 > 0, "regularizer.l1", "leave it out"),
        (
            bool(config.regularizer.l2),
            f"regularizer.l2={config.regularizer.l2}",
            "give regularizer.l2=0 and optimizer.weight_decay",
        ),
        (config.train.average > 0, "train.average", "leave it out"),
    ):
        if is_so:
            raise BadConfiguration(f"train.shard=true: {what} is not for weights of which a device has a part; {instead}")
