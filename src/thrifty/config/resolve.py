"""What is worked out from other keys: shape, batch size, learning rate, regularisation and length by task, architecture and size."""

from __future__ import annotations

import math

from thrifty.config.choices.pruners import NM, nearest_pattern
from thrifty.config.schema import Config
from thrifty.errors import BadConfiguration


def resolve(config: Config) -> Config:
    """Fill, in place, every key left at "by size" or "by task", so that the record says what was really run."""
    architecture = config.architecture
    rung = architecture.LADDER[config.model.name]
    for name, value in rung.shape.items():
        if getattr(architecture, name) is None:
            setattr(architecture, name, value)
    if config.batch_size is None:
        config.batch_size = rung.batch_size
    if config.optimizer.lr is None:
        config.optimizer.lr = float(f"{architecture.learning_rate(config.optimizer.name):.3g}")
    budget, task = config.budget, config.task
    for name in ("l2", "dropout", "label_smoothing"):
        if getattr(config.regularizer, name) is None:
            setattr(config.regularizer, name, task.REGULARIZER.get(name, 0.0))
    if budget.steps is None and budget.epochs is None:
        if budget.name == "quick":
            budget.steps, budget.epochs = task.QUICK_STEPS, task.QUICK_EPOCHS
        else:
            budget.epochs = task.FULL_EPOCHS
    if config.method.name == "prune":
        _resolve_sparsity(config)
    if config.measure.examples is None and config.measure.name != "full":
        config.measure.examples = rung.evaluation_examples
    return config


def _resolve_sparsity(config: Config) -> None:
    """Half by default; n_m's pattern and the sparsity follow from each other.

    Raises:
        BadConfiguration: both were given and disagree, or a pattern with sparsity=auto.
    """
    pruner = config.pruner
    pattern = pruner.pattern if isinstance(pruner, NM) else None
    if isinstance(pruner, NM) and pattern is not None:
        kept, of = (int(one) for one in pattern.split(":"))
        given = config.sparsity
        if given is not None and (isinstance(given, str) or not math.isclose(given, 1 - kept / of)):
            raise BadConfiguration(
                f"sparsity={config.sparsity} pruner.pattern={pattern}: do not go together, {pattern} is a sparsity of {1 - kept / of:g}; "
                "give one of the two"
            )
        config.sparsity = 1 - kept / of
    if config.sparsity is None:
        config.sparsity = 0.5
    if isinstance(config.sparsity, int):
        config.sparsity = float(config.sparsity)
    if isinstance(pruner, NM) and pattern is None and not isinstance(config.sparsity, str):
        pruner.pattern = nearest_pattern(config.sparsity)
    if config.sparsity == "auto" and config.max_quality_loss is None:
        config.max_quality_loss = 0.5
