"""What is worked out from other keys: shape, batch size, learning rate, regularisation and length by task, architecture and size."""

from __future__ import annotations

import math

from thrifty.config.choices.methods import NO_QUANTIZER, Optimize
from thrifty.config.choices.pruners import NM, nearest_pattern
from thrifty.config.registry import CHOICES
from thrifty.config.schema import Config, Objective
from thrifty.errors import BadConfiguration, nearest


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
    if budget.steps is None and budget.epochs is None and budget.flops is None:
        if budget.name == "quick":
            budget.steps, budget.epochs = task.QUICK_STEPS, task.QUICK_EPOCHS
        else:
            budget.epochs = task.FULL_EPOCHS
    if config.pruner is not None:
        _resolve_sparsity(config)
    if isinstance(config.method, Optimize):
        _resolve_search(config, config.method)
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


def _resolve_search(config: Config, method: Optimize) -> None:
    """Defaults of a search, and its lists held to the choices that there are.

    Raises:
        BadConfiguration: a name that is no choice, an empty list, or an engine beside the list of them.
    """
    if config.engine.name != "eager":
        raise BadConfiguration(
            f"engine={config.engine.name} method=optimize: do not go together; the engine is what is looked for, so give "
            f"method.engines=[{config.engine.name}]"
        )
    if config.objective is None:
        config.objective = Objective.latency
    if config.max_quality_loss is None:
        config.max_quality_loss = 0.5
    for name, group in (("quantizers", "quantizer"), ("precisions", "precision"), ("engines", "engine")):
        given, allowed = getattr(method, name), [*CHOICES[group]]
        if group == "quantizer":
            allowed = [NO_QUANTIZER, *(name for name in allowed if not CHOICES[group][name].schema.TRAINS)]
        if not given:
            raise BadConfiguration(f"method.{name}=[]: leaves nothing to try; give some of {', '.join(allowed)}")
        for one in given:
            if one not in allowed:
                raise BadConfiguration(
                    f"method.{name}: {one} is not one to try; choose of {', '.join(allowed)}{nearest(one, allowed)}"
                )
