"""What is worked out from other keys: shape, batch size, learning rate, regularisation and length by task, architecture and size."""

from __future__ import annotations

from thrifty.config.schema import Config


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
    if config.measure.examples is None and config.measure.name != "full":
        config.measure.examples = rung.evaluation_examples
    return config
