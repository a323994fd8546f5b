"""Schemas of `task`: what is learned, from which data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

from thrifty.config.key import key
from thrifty.errors import BadConfiguration, nearest


class Kind(Enum):
    """What a table's target is."""

    auto = "auto"
    binary = "binary"
    multiclass = "multiclass"
    regression = "regression"


class ClassWeights(Enum):
    """What a class counts for in the training loss."""

    none = "none"
    balanced = "balanced"


AUGMENTATIONS = ("shift", "flip", "crop", "randaugment", "mixup")
"""In the order in which they are applied, where there are several."""


@dataclass(kw_only=True)
class Task:
    """What is learned, from which data."""

    QUICK_STEPS: ClassVar[int | None] = None
    """Optimiser steps of `budget=quick`; a task names these or its epochs."""
    QUICK_EPOCHS: ClassVar[float | None] = None
    FULL_EPOCHS: ClassVar[float]
    """Passes over the training split of `budget=full`."""
    REGULARIZER: ClassVar[dict[str, float]] = {}
    """l2, dropout and label_smoothing unless told, where they are not 0."""
    IN_BATCHES: ClassVar[bool] = True
    """Whether what is to be predicted are examples that do not depend on each other, so that processes can share them."""
    QUALITIES: ClassVar[tuple[str, ...]]
    """Metrics of predictions that there may be, as `validation/NAME` and `quality/NAME`: what the data is like may leave some out."""

    name: str
    path: str | None = key("data of your own: a file or folder the task can read", null="built in")
    validation: float = key("share of the examples that searches and early stopping see", above=0, below=0.5)
    test: float = key("share of the examples that is touched once, at the end", above=0, below=0.5)
    split_seed: int = key("which split; apart from `seed`, so that runs of different seeds share a test set", at_least=0)


@dataclass(kw_only=True)
class Text(Task):
    """Byte-level language modelling: predict the next byte of a text."""

    QUICK_STEPS: ClassVar[int | None] = 2000
    FULL_EPOCHS: ClassVar[float] = 1.0
    IN_BATCHES: ClassVar[bool] = False
    QUALITIES: ClassVar[tuple[str, ...]] = ("loss", "bits_per_byte")


@dataclass(kw_only=True)
class Classification(Task):
    """A class of several, for each example."""

    QUALITIES: ClassVar[tuple[str, ...]] = (
        "loss",
        "accuracy",
        "f1_macro",
        "worst_class_accuracy",
        "auroc",
        "calibration_error",
    )

    class_weights: ClassWeights = key(
        "what a class counts for in the training loss: balanced is rows / (classes x rows of the class); metrics never weigh"
    )


@dataclass(kw_only=True)
class Image(Classification):
    """The class of an image."""

    QUICK_EPOCHS: ClassVar[float | None] = 30.0
    FULL_EPOCHS: ClassVar[float] = 200.0
    REGULARIZER: ClassVar[dict[str, float]] = {"dropout": 0.1, "label_smoothing": 0.1}

    resize: int | None = key(
        "side that images are scaled to, whatever their shape", unit="pixels", at_least=1, at_most=1024, null="as they are"
    )
    augment: Any = key(
        f"how training images vary from epoch to epoch: none, {', '.join(AUGMENTATIONS)}, or a list of them such as [shift,flip]"
    )

    def check(self, path: str) -> None:
        """What a range cannot say; `path` leads the key's name in errors. Ways that mean the same are written the same."""
        given = self.augment
        names = [] if given in (None, "none") else given if isinstance(given, list) else [given]
        for one in names:
            if one not in AUGMENTATIONS:
                hint = nearest(str(one), AUGMENTATIONS)
                raise BadConfiguration(
                    f"{path}augment={one}: must be none, {', '.join(AUGMENTATIONS)}, or a list of these such as [shift,flip]{hint}"
                )
        ordered = [one for one in AUGMENTATIONS if one in names]
        self.augment = ordered if len(ordered) > 1 else (ordered or ["none"])[0]


@dataclass(kw_only=True)
class Tabular(Classification):
    """A column of a table predicted from the others."""

    QUICK_EPOCHS: ClassVar[float | None] = 10.0
    FULL_EPOCHS: ClassVar[float] = 100.0
    REGULARIZER: ClassVar[dict[str, float]] = {"l2": 0.002}
    QUALITIES: ClassVar[tuple[str, ...]] = (*Classification.QUALITIES, "r2", "rmse", "mae")

    target: str | None = key("the column to predict; needed with task.path", null="built in")
    kind: Kind = key("what the target is; auto looks at its values")
    numeric: list[str] = key("text columns to read as numbers instead of categories")
    ignore: list[str] = key("columns to leave out, such as an identifier")
    log1p: Any = key(
        "columns that get log(x+1): auto (every numeric column without a negative value), all, none, or a list of columns"
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
