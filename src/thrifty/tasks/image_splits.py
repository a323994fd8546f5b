"""Which images train, which validate, which test: every class in its share, and splits that the data brings kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from thrifty.config.choices.tasks import Image
from thrifty.errors import BadData
from thrifty.tasks.base import SPLITS
from thrifty.tasks.image_set import ImageSet
from thrifty.tasks.table_values import counted


def split_images(images: ImageSet, config: Image) -> dict[str, np.ndarray]:
    """Places of the images of each split: disjoint, all images together, those drawn in random order.

    Raises:
        BadData: a class with too few images for the splits to be drawn, or one that training lacks.
    """
    drawn = [split for split in ("test", "validation") if split not in images.given]
    left = images.given.get("train", np.arange(len(images.classes)))
    _require_enough(images, left, len(drawn) + 1)
    total = len(left)
    splits = {split: places for split, places in images.given.items() if split != "train"}
    for split in drawn:
        size = max(1, round(total * getattr(config, split)))
        try:
            parts: list[Any] = train_test_split(
                left, test_size=size, random_state=config.split_seed, stratify=images.classes[left]
            )
            left, splits[split] = parts
        except ValueError as error:  # scikit-learn cannot put every class on both sides
            raise _too_few(images, split, size, total) from error
    if len(np.unique(images.classes[left])) < len(images.labels):
        raise _too_few(images, "train", len(left), total)
    return {"train": left, **{split: splits[split] for split in SPLITS if split != "train"}}


def _require_enough(images: ImageSet, places: np.ndarray, needed: int) -> None:
    counts = np.bincount(images.classes[places], minlength=len(images.labels))
    few = int(counts.argmin())
    if counts[few] >= needed:
        return
    where = " in its training part" if images.given else ""
    others = int((counts < needed).sum()) - 1
    raise BadData(
        f"{images.source}: class '{images.labels[few]}' has {counted(int(counts[few]), 'image')}{where}"
        + (f", and {counted(others, 'other class', 'other classes')} too few as well" if others else "")
        + f"; each needs {needed}{', one for each split' if needed > 1 else ''}: add images, or take the class out"
    )


def _too_few(images: ImageSet, split: str, size: int, total: int) -> BadData:
    return BadData(
        f"{images.source}: {total} images of {len(images.labels)} classes do not fill the splits: {split} would get {size}, and "
        "needs one of each class; add images, or change task.test and task.validation"
    )
