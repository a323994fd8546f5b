"""The class of an image: of scikit-learn's handwritten digits, or of images of the user's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.tasks import ClassWeights, Image
from thrifty.errors import BadData
from thrifty.measure.statistics import Interval
from thrifty.tasks.base import SPLITS, Data, Task
from thrifty.tasks.class_weights import balanced_weights, describe_weights
from thrifty.tasks.classification import class_loss, class_metrics_untold, class_scores, class_summary
from thrifty.tasks.image_augmentation import Augmentation, border_colour, describe
from thrifty.tasks.image_kept import read_kept
from thrifty.tasks.image_normalisation import fit, is_constant
from thrifty.tasks.image_prediction import predict_images
from thrifty.tasks.image_set import ImageSet, size_text
from thrifty.tasks.image_splits import split_images
from thrifty.tasks.prediction_batches import Predictor
from thrifty.tasks.table_values import counted, listed

MOST_AT_ONCE, MOST_NUMBERS_AT_ONCE = 1024, 2**22
"""Images, and numbers of them, in one forward pass: what a model makes of each number between its layers is many times more."""


class ImageData(Data):
    """Images in three splits, held as the bytes they were read as: four times as many fit as in float32.

    Args:
        splits: places of the images of each split.
        config: of which `augment`, `class_weights`, `resize` and `split_seed` are looked at.
    """

    deciding = "accuracy"
    has_classes = True

    def __init__(self, images: ImageSet, splits: dict[str, np.ndarray], config: Image) -> None:
        self.normalisation = fit(images.pixels, splits["train"])
        if is_constant(self.normalisation, images.pixels, splits["train"]):
            raise BadData(f"{images.source}: every pixel of the training images is the same; there is nothing to learn from")
        self.labels, self.resize = images.labels, config.resize
        self.device = self._home = torch.device("cpu")
        self._pixels, self._classes = torch.from_numpy(images.pixels), torch.from_numpy(images.classes)
        self._places = {split: torch.from_numpy(splits[split]) for split in SPLITS}
        self.sizes = {split: len(splits[split]) for split in SPLITS}
        channels, height, width = images.pixels.shape[1:]
        self.shape = {"channels": channels, "height": height, "width": width, "outputs": len(images.labels)}
        self.most_at_once = max(1, min(MOST_AT_ONCE, MOST_NUMBERS_AT_ONCE // (channels * height * width)))
        names = config.augment if isinstance(config.augment, list) else [config.augment]
        self.augmentation: Augmentation | None = None
        if names != ["none"]:
            some = self._pixels[self._places["train"][:1024]]
            colour = self.normalisation.to_unit(border_colour(some))
            # Seeded as the split is, and not as the run: a task knows no more. Runs of other seeds meet the images in another order.
            self.augmentation = Augmentation(names, self.sizes["train"], config.split_seed, colour)
        self.class_weights: Tensor | None = None
        if config.class_weights is ClassWeights.balanced:
            self.class_weights = balanced_weights(images.classes[splits["train"]], len(images.labels))
        self.fingerprint = images.fingerprint
        self.about = self._about(images, splits, [] if self.augmentation is None else names)
        self.flags = []

    def to(self, device: torch.device) -> None:
        """Keep the images on the device if they take no more than half of the free memory, else send batches there."""
        self.device = self._home = device
        if device.type == "cuda" and self._pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
            self._home = torch.device("cpu")
        self._pixels, self._classes = self._pixels.to(self._home), self._classes.to(self._home)
        self._places = {split: one.to(self._home) for split, one in self._places.items()}
        if self.augmentation is not None:
            self.augmentation.to(device)
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(device)

    def batch(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images by number, and their classes; in training, and from its second epoch on, as the augmentation varies them.

        Returns:
            Inputs, float32 (*draws.shape, channels, height, width); and class numbers, int64 (*draws.shape), or, where images
            are mixed, probabilities of the classes, float32 (*draws.shape, classes).
        """
        flat = draws.reshape(-1)
        if split == "train" and self.augmentation is not None and bool((flat >= self.sizes["train"]).any()):
            inputs, targets = self._varied(self.augmentation, flat)
        else:
            pixels, targets = self._read(split, flat)
            inputs = self.normalisation.apply(pixels)
        return inputs.view(draws.shape + inputs.shape[1:]), targets.view(draws.shape + targets.shape[1:])

    def _read(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels as they were read, and class numbers, on the device."""
        places = self._places[split].index_select(0, draws.to(self._home) % self.sizes[split])
        pixels, classes = self._pixels.index_select(0, places), self._classes.index_select(0, places)
        return pixels.to(self.device), classes.to(self.device)

    def _varied(self, augmentation: Augmentation, draws: Tensor) -> tuple[Tensor, Tensor]:
        draws = draws.to(self.device)
        units, classes = self._shown(augmentation, draws)
        if not augmentation.mixes:
            return self.normalisation.of_unit(units), classes
        partners, shares = augmentation.partners(draws)
        others, their_classes = self._shown(augmentation, partners)
        units = others + (units - others) * shares.view(-1, 1, 1, 1)
        own, their = (F.one_hot(one, self.shape["outputs"]).float() for one in (classes, their_classes))
        return self.normalisation.of_unit(units), their + (own - their) * shares.unsqueeze(1)

    def _shown(self, augmentation: Augmentation, draws: Tensor) -> tuple[Tensor, Tensor]:
        pixels, classes = self._read("train", draws)
        return augmentation(self.normalisation.to_unit(pixels), draws), classes

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy in nats, weighted by class where that is asked for."""
        return class_loss(outputs, targets, label_smoothing, self.class_weights)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Those of `class_scores`."""
        return class_scores(outputs, targets)

    def summarise(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """Those of `class_summary`."""
        return class_summary(scores)

    def glance(self, scores: dict[str, np.ndarray]) -> dict[str, Interval]:
        """The same without a bootstrap's intervals."""
        return class_summary(scores, resamples=0)

    def untold(self, scores: dict[str, np.ndarray]) -> dict[str, str]:
        """Those of `class_metrics_untold`."""
        return class_metrics_untold(scores)

    def state(self) -> dict[str, Any]:
        """Classes, size, and how pixels become inputs."""
        return {
            "labels": self.labels,
            **{name: self.shape[name] for name in ("channels", "height", "width")},
            "resize": self.resize,
            "pixels": str(self._pixels.dtype).removeprefix("torch."),
            "normalisation": self.normalisation.state(),
        }

    def _about(self, images: ImageSet, splits: dict[str, np.ndarray], augmentations: list[str]) -> list[str]:
        channels, height, width = (self.shape[name] for name in ("channels", "height", "width"))
        read = f"{images.source}: {len(images.classes)} images of {size_text(height, width)} pixels, {counted(channels, 'channel')}"
        scaled = "" if self.resize is None else f", scaled to {size_text(height, width)} whatever their shape"
        kind = "whole numbers from 0 to 255" if images.pixels.dtype == np.uint8 else "fractions"
        mean, scale = (
            listed([f"{one:.4g}" for one in values]) for values in (self.normalisation.mean, self.normalisation.scale)
        )
        about = [f"{read}{scaled}", *images.about, *_about_classes(images.classes, images.labels)]
        if images.given:
            drawn = [split for split in SPLITS if split not in images.given]
            about.append(
                f"splits as the data has them ({', '.join(f'{split} {len(splits[split])}' for split in SPLITS)})"
                + (f"; {' and '.join(drawn)} drawn from its training part" if drawn else "")
            )
        about.append(f"pixels, {kind}, minus {mean} and over {scale}: mean and standard deviation of the training images")
        if augmentations:
            about.append(describe(augmentations, height, width))
        if self.class_weights is not None:
            about.append(describe_weights(self.class_weights, self.labels))
        return about


class ImageTask(Task):
    """Images of the user's own, or scikit-learn's handwritten digits."""

    predicts: ClassVar[str] = (
        "an image, a folder of images, an .npz, HDF5 or IDX file -> CSV, a line with the class for each image"
    )

    def prepare(self, architecture: Architecture) -> ImageData:
        """Read, split, and fit the normalisation on the training images."""
        config = self.config
        assert isinstance(config, Image)
        images = read_kept(self.store, config.path, config.resize)
        return ImageData(images, split_images(images, config), config)

    @classmethod
    def predict(
        cls,
        state: dict[str, Any],
        model: Predictor | Callable[[Tensor], Tensor],
        given: str,
        output: Path | None,
        options: dict[str, Any],
    ) -> str:
        """The class of each image and its probability, by file, or by number from 0 where images have no names."""
        return predict_images(state, model, given, output, int(options.get("batch_size") or 1024))


def _about_classes(classes: np.ndarray, labels: list[str]) -> list[str]:
    counts = Counter(classes.tolist())
    shares = [counts[number] / len(classes) for number in range(len(labels))]
    shown = listed([f"{label} {100 * share:.0f}%" for label, share in zip(labels, shares, strict=True)], 6)
    about = [f"{len(labels)} classes ({shown})"]
    most = int(np.argmax(shares))
    if shares[most] >= 0.6:
        about.append(f"always answering '{labels[most]}' is right in {100 * shares[most]:.1f}% of the images")
    return about
