"""The class of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from thrifty.config.choices.architectures import Architecture
from thrifty.config.choices.tasks import ClassWeights, Image
from thrifty.errors import BadConfiguration, BadData
from thrifty.measure.statistics import Interval
from thrifty.tasks.base import SPLITS, Data, Task
from thrifty.tasks.class_weights import balanced_weights, describe_weights
from thrifty.tasks.classification import class_loss, class_scores, class_summary
from thrifty.tasks.image_reading import Images, read_images

_FEWEST = 5
"""Images of a class, so that each split can have one."""


class ImageData(Data):
    """Images as they were kept, normalised in batches: by the mean and deviation of each channel in the training split.

    Args:
        splits: places of the images of each split.
        balanced: whether the training loss weighs rare classes more, so that each counts the same.
    """

    most_at_once: ClassVar[int] = 1024  # a transformer's activations for more would take gigabytes

    def __init__(self, images: Images, splits: dict[str, np.ndarray], balanced: bool = False) -> None:
        self.classes = sorted(set(images.labels), key=lambda one: (len(one), one) if one.isdigit() else (0, one))
        numbers = {name: number for number, name in enumerate(self.classes)}
        targets = torch.tensor([numbers[one] for one in images.labels])
        pixels = torch.from_numpy(images.pixels)
        if pixels.dtype != torch.uint8:
            pixels = pixels.float()
        self._pixels = {split: pixels[splits[split]] for split in SPLITS}
        self._targets = {split: targets[splits[split]] for split in SPLITS}
        training = self._pixels["train"].double()
        self.mean = training.mean((0, 2, 3)).tolist()
        self.scale = [one or 1.0 for one in training.std((0, 2, 3), correction=0).tolist()]
        self._normalise(torch.device("cpu"))
        channels, height, width = pixels.shape[1:]
        self.deciding, self.has_classes, self.flags = "accuracy", True, []
        self.sizes = {split: len(splits[split]) for split in SPLITS}
        self.shape = {"channels": channels, "height": height, "width": width, "outputs": len(self.classes)}
        self.fingerprint = images.fingerprint
        self.about = [
            f"{images.source}: {len(targets)} images of {height}x{width} pixels, {channels} channel{'s' * (channels > 1)}, "
            f"{len(self.classes)} classes",
            "each channel less its mean in the training images, over its deviation there",
        ]
        self.class_weights: Tensor | None = None
        if balanced:
            self.class_weights = balanced_weights(targets[splits["train"]].numpy(), len(self.classes))
            self.about.append(describe_weights(self.class_weights, self.classes))

    def to(self, device: torch.device) -> None:
        """Keep the images on the device, a byte a number where they were kept so."""
        for split in SPLITS:
            self._pixels[split] = self._pixels[split].to(device)
            self._targets[split] = self._targets[split].to(device)
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(device)
        self._normalise(device)

    def _normalise(self, device: torch.device) -> None:
        self.device = device
        self._mean, self._scale = (torch.tensor(one, device=device).view(-1, 1, 1) for one in (self.mean, self.scale))

    def batch(self, split: str, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images (..., channels, height, width) and classes; an epoch shows each as the last did."""
        index = (draws.to(self.device) % self.sizes[split]).reshape(-1)
        pixels = self._pixels[split].index_select(0, index).float()
        inputs = pixels.sub_(self._mean).div_(self._scale)
        targets = self._targets[split].index_select(0, index)
        return inputs.view(*draws.shape, *inputs.shape[1:]), targets.view(draws.shape)

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

    def state(self) -> dict[str, Any]:
        """The classes, and how pixels become inputs."""
        return {"classes": self.classes, "mean": self.mean, "scale": self.scale}


class ImageTask(Task):
    """Images of the user's own, or scikit-learn's handwritten digits."""

    predicts: ClassVar[str] = "an .npz file with the array images -> number, prediction and its probability as CSV"

    def prepare(self, architecture: Architecture) -> ImageData:
        """Read and split, every class in the same shares in each split."""
        config = self.config
        assert isinstance(config, Image)
        images = read_images(config.path)
        names, counts = np.unique(images.labels, return_counts=True)
        if len(names) < 2:
            raise BadData(f"{images.source}: has {len(names)} class; give images of two classes or more")
        if counts.min() < _FEWEST:
            rarest = names[counts.argmin()]
            raise BadData(
                f"{images.source}: class '{rarest}' has {counts.min()} images; each needs {_FEWEST}, so that every split has one"
            )
        return ImageData(images, _split(images.labels, config), config.class_weights is ClassWeights.balanced)

    @classmethod
    def predict(
        cls,
        state: dict[str, Any],
        model: Callable[[Tensor], Tensor],
        given: str,
        output: Path | None,
        options: dict[str, Any],
    ) -> str:
        """Every image of the file by its number, with the class predicted and its probability."""
        pixels = torch.from_numpy(read_images(given).pixels).float()
        mean, scale = (torch.tensor(state[name]).view(-1, 1, 1) for name in ("mean", "scale"))
        if pixels.shape[1] != len(mean):
            raise BadData(f"{given}: images of {pixels.shape[1]} channels; the model was trained on {len(mean)}")
        rows = ["number,prediction,probability"]
        for part in ((pixels - mean) / scale).split(int(options.get("batch_size") or 256)):
            best = model(part).float().softmax(-1).max(-1)
            for chance, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                rows.append(f"{len(rows)},{state['classes'][place]},{chance:.4g}")
        if output is None:
            return "\n".join(rows)
        try:
            output.write_text("\n".join(rows) + "\n")
        except OSError as error:
            raise BadConfiguration(f"--output {output}: cannot be written ({error.strerror})") from error
        return f"{len(rows) - 1} predictions in {output}"


def _split(labels: list[str], config: Image) -> dict[str, np.ndarray]:
    """Places of the images of each split."""
    places, classes = np.arange(len(labels)), np.array(labels)
    rest, test = train_test_split(places, test_size=config.test, random_state=config.split_seed, stratify=classes)
    train, validation = train_test_split(
        rest, test_size=config.validation / (1 - config.test), random_state=config.split_seed, stratify=classes[rest]
    )
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}
