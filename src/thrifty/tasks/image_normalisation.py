"""From pixels as read to a model's inputs: a mean of 0 and a standard deviation of 1 in each channel of the training images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_AT_ONCE = 2**22
"""Numbers, so that fitting needs no second copy of all images in float64."""


@dataclass(frozen=True)
class Normalisation:
    """How pixels become inputs; units are those of the pixels as read."""

    low: float
    high: float
    """The range of pixels: 0 and 255 of whole numbers, of fractions the least and the largest of the training images."""
    mean: list[float]
    """Of each channel."""
    scale: list[float]
    """Standard deviation, as of a whole population; 1 of a channel that is the same everywhere."""

    def apply(self, pixels: Tensor) -> Tensor:
        """Inputs, float32, of pixels (..., channels, height, width)."""
        return pixels.float().sub_(self._column(self.mean, pixels)).mul_(self._column([1 / one for one in self.scale], pixels))

    def to_unit(self, pixels: Tensor) -> Tensor:
        """Pixels of which the darkest is 0 and the brightest 1."""
        return pixels.float().sub_(self.low).mul_(1 / (self.high - self.low))

    def of_unit(self, units: Tensor) -> Tensor:
        """Inputs of what `to_unit` gave."""
        span = self.high - self.low
        mean = [(one - self.low) / span for one in self.mean]
        return (units - self._column(mean, units)).mul_(self._column([span / one for one in self.scale], units))

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @staticmethod
    def _column(values: list[float], like: Tensor) -> Tensor | float:
        # A number is quicker than a tensor on the device: one channel needs no other.
        if len(values) == 1:
            return values[0]
        return torch.tensor(values, dtype=torch.float32).to(like.device).view(-1, 1, 1)


def fit(pixels: np.ndarray, training: np.ndarray) -> Normalisation:
    """Learn from the training images alone.

    Args:
        pixels: of all images, (images, channels, height, width).
        training: places of the training images.
    """
    channels, each = pixels.shape[1], int(np.prod(pixels.shape[1:]))
    step = max(1, _AT_ONCE // each)
    parts = [training[first : first + step] for first in range(0, len(training), step)]
    count = len(training) * each / channels
    mean = sum(pixels[part].sum(axis=(0, 2, 3), dtype=np.float64) for part in parts) / count
    centre = np.asarray(mean).reshape(1, -1, 1, 1)
    variance = sum(((pixels[part] - centre) ** 2).sum(axis=(0, 2, 3)) for part in parts) / count
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else _range(pixels, parts)
    # The mean of equal numbers may be a hair beside them, and so may the deviation beside 0.
    scale = [float(one) if one > 1e-6 * (high - low) else 1.0 for one in np.sqrt(np.asarray(variance))]
    return Normalisation(low, high, [float(one) for one in np.asarray(mean)], scale)


def is_constant(normalisation: Normalisation, pixels: np.ndarray, training: np.ndarray) -> bool:
    """Whether every training image is the same single colour: nothing to learn from."""
    first = pixels[training[0], :, :1, :1]
    return all(one == 1.0 for one in normalisation.scale) and bool((pixels[training] == first).all())


def _range(pixels: np.ndarray, parts: list[np.ndarray]) -> tuple[float, float]:
    low = min(float(pixels[part].min()) for part in parts)
    high = max(float(pixels[part].max()) for part in parts)
    return low, high if high > low else low + 1.0
